"""Health: what checks found of a backend. Pure hysteresis and ramps here, the probes' I/O in `probe`."""
