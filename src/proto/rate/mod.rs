//! How fast to send: pacing, and a rate that follows what receivers report.

pub(in crate::proto) mod loss;
pub(in crate::proto) mod pacing;
pub(in crate::proto) mod rtt;
