//! To be written: proto.
