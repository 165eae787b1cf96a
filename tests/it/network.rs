//! The network as the program finds it, without namespaces.

use std::net::UdpSocket;

use crate::support::run;

#[test]
fn a_port_in_use_is_named() {
    // Not shared, as most programs do it.
    let other = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let args = [
        "catch",
        "-I",
        "lo",
        "--port",
        &port,
        "--start-timeout",
        "1s",
    ];
    let output = run(&args, b"");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&port) && said.contains("hint: "), "{said}");
}
