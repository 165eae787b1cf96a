//! To be written: crypt.
