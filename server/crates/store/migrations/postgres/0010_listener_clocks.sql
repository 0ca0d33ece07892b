-- By how many milliseconds the engine's clock was ahead of ours when the cursor was written: so a clock that was set back since is noticed.
ALTER TABLE listener ADD COLUMN clock_ahead BIGINT;
