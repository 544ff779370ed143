"""Give every figure in the browser a width that fits, and buttons to save it as SVG or PNG and its data as CSV."""

from __future__ import annotations

import gradio as gr

# Gradio sends arrays packed; Plotly's _fullData holds them decoded.
_ADD = r"""
const save = (name, text) => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
};
const cell = (value) => {
  let text = value === null || value === undefined ? '' : String(value);
  // A spreadsheet would treat a text that begins like this as a formula.
  if (typeof value === 'string' && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
  return /[",\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
};
const plain = (html) => new DOMParser().parseFromString(String(html || ''), 'text/html').body.textContent;
const csv = (plot) => {
  // From the figure's own layout: in the full one, Plotly fills in "Click to enter X axis title".
  // What the pointer skips, such as a mark or a backdrop, is no data.
  const traces = plot._fullData.filter((trace) => trace.hoverinfo !== 'skip');
  const title = (axis) => plain(((plot.layout[axis] || {}).title || {}).text);
  const labelled = traces.some((trace) => Array.isArray(trace.text));
  // A second axis has a quantity of its own: its title stands with the series.
  const series = (trace) => plain(trace.name) + (trace.yaxis === 'y2' ? ', ' + title('yaxis2') : '');
  const label = (plot.layout.meta || {}).label || 'label';
  // A trace may have more columns in its "meta": lists by name.
  const more = [...new Set(traces.flatMap((trace) => Object.keys(trace.meta || {})))];
  const rows = [['series', title('xaxis') || 'x', title('yaxis') || 'y', ...(labelled ? [label] : []), ...more]];
  for (const trace of traces) {
    const y = Array.from(trace.y || []), labels = Array.isArray(trace.text) ? trace.text : [], own = trace.meta || {};
    Array.from(trace.x || y.keys()).forEach((x, i) => rows.push(
      [series(trace), x, y[i], ...(labelled ? [plain(labels[i])] : []), ...more.map((name) => (own[name] || [])[i])]));
  }
  return rows.map((row) => row.map(cell).join(',')).join('\n') + '\n';
};
const titleOf = (plot) => plain(plot._fullLayout && plot._fullLayout.title && plot._fullLayout.title.text) || 'figure';
const makers = {
  SVG: (plot, name) => image(plot, name, 'svg', 1),
  PNG: (plot, name) => image(plot, name, 'png', 2),
  CSV: (plot, name) => save(name + '.csv', csv(plot)),
};
const image = (plot, filename, format, scale) => {
  const layout = { ...plot.layout, paper_bgcolor: 'white', plot_bgcolor: 'white', autosize: false };
  const size = { width: plot.offsetWidth, height: plot.offsetHeight };
  window.Plotly.downloadImage({ data: plot.data, layout }, { format, filename, scale, ...size });
};
const add = () => {
  for (const plot of document.querySelectorAll('.js-plotly-plot')) {
    // To save a picture, Plotly draws a copy outside the page: that copy needs no buttons.
    if (!plot._fullLayout || !plot.closest('.gradio-container')) continue;
    if (plot.parentElement.querySelector(':scope > .lr-tools')) continue;
    const bar = document.createElement('div');
    bar.className = 'lr-tools';
    for (const kind of Object.keys(makers)) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = kind;
      button.setAttribute('aria-label', 'Download “' + titleOf(plot) + '” as ' + kind);
      button.addEventListener('click', () => {
        const name = titleOf(plot).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '');
        makers[kind](plot, name);
      });
      bar.append(button);
    }
    plot.after(bar);
  }
};
document.addEventListener('lr-changed', add);
// A figure that is drawn while its tab is hidden has no box to fill, and Plotly then takes a width of its own.
const fit = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    if (contentRect.width && target._fullLayout && Math.abs(target._fullLayout.width - contentRect.width) > 1) {
      window.Plotly.Plots.resize(target);
    }
  }
});
document.addEventListener('lr-changed', () => document.querySelectorAll('.js-plotly-plot').forEach((plot) => {
  if (plot._fullLayout) fit.observe(plot);
}));
add();
"""


def build() -> None:
    """Add the script that puts the buttons below every figure of the page."""
    gr.HTML("", js_on_load=_ADD, visible="hidden", elem_id="lr-figure-tools")
