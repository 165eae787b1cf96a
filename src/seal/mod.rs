//! To be written: seal.
