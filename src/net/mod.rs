//! Sockets and routes.

mod error;
mod probe;
mod route;
mod socket;

pub use error::Error;
pub use probe::probe;
pub use socket::{
    Buffers, Ears, GROUP_DEFAULT, GROUP6_DEFAULT, Link, NetConfig, PORT_DEFAULT,
    RECEIVE_BUFFER_SMALL, To, Way, ip_udp_len, mtu_to, send_error,
};
