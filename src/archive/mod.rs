//! To be written: archive.
