//! TCP-AO keys: sessions where the kernel can sign, and a clear sentence where it cannot.

use std::os::fd::AsFd;

use anycast_tests::peers::in_namespace;
use anycast_userspace::sockopt::{AoAlgorithm, AoKey, add_ao_key, has_tcp_ao};

use crate::node::{Node, runtime};
use crate::scripted::{Scripted, addresses};

const PEER: &str = "[[peers]]\nname = \"r1\"\naddress = \"10.0.1.2\"\nremote_as = 65001\npassive = true\n\
    ao_keys = [{ send_id = 1, secret = \"sesame\" }, { send_id = 2, receive_id = 3, secret = \"other\" }]\n";

#[test]
fn tcp_ao_keys_sign_the_session_or_the_kernel_is_named_that_cannot() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            let probe = std::net::TcpListener::bind("10.0.1.1:0").unwrap();
            if !has_tcp_ao(probe.as_fd()).unwrap() {
                let error = Node::refused(PEER);
                assert_eq!(
                    error,
                    "peer r1 has `ao_keys`, but this kernel is built without TCP-AO (CONFIG_TCP_AO, \
                     Linux 6.7): use `password`, or another kernel"
                );
                println!("TCP-AO sessions were not run: this kernel cannot sign with it");
                return;
            }
            let mut node = Node::start_from(PEER);
            assert!(Scripted::connect(1).await.is_err(), "unsigned");
            let signed = Scripted::establish_prepared(1, 90, |socket| {
                let key = AoKey {
                    send_id: 1,
                    receive_id: 1,
                    algorithm: AoAlgorithm::HmacSha1,
                    secret: b"sesame",
                    preferred: true,
                };
                add_ao_key(socket, [10, 0, 1, 1].into(), 32, &key)
            });
            let _peer = signed.await.unwrap();
            node.established("r1").await;
        });
    });
}
