"""One file per report format: a report in, text or pictures out."""
