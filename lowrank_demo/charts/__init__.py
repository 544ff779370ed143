"""Cards, reports and rank histories to Plotly figures."""
