"""Photos to top-5 answers, and what lies behind an answer."""
