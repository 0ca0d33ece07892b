-- Which code paired a browser: for a browser whose answer was lost, and for taking away all that came with one code.
ALTER TABLE device ADD COLUMN code_hash BLOB;
CREATE INDEX device_code ON device (code_hash);
