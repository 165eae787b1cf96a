//! To be written: fec.
