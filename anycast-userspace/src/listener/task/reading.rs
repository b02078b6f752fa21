//! A listing of sockets that can be judged by: what it may have missed is read a second time.

use std::collections::BTreeSet;

use super::super::error::SockDiagError;
use super::super::plan::{Port, Socket};
use super::super::sock_diag::SocketTable;

/// Reads each of the doubtful ports again, alone: the kernel lists the sockets of one port in one piece,
/// where a long listing comes in several, between which the next one can be missed.
pub(super) async fn read_again<T: SocketTable>(
    table: &mut T,
    mut listed: Vec<Socket>,
    doubtful: BTreeSet<Port>,
) -> Result<Vec<Socket>, SockDiagError> {
    for port in doubtful {
        let again = table.read(&BTreeSet::from([port])).await?;
        listed.retain(|socket| socket.port != port);
        listed.extend(again);
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each reading shows, the next one last.
    struct Table {
        answers: Vec<Vec<Socket>>,
        asked: Vec<BTreeSet<Port>>,
    }

    impl SocketTable for Table {
        async fn read(&mut self, ports: &BTreeSet<Port>) -> Result<Vec<Socket>, SockDiagError> {
            self.asked.push(ports.clone());
            Ok(self.answers.pop().expect("one more reading"))
        }
    }

    fn socket(cookie: u64, port: Port) -> Socket {
        Socket {
            cookie,
            port,
            local: "192.0.2.1".parse().expect("an address"),
            v6_only: false,
            cgroup: None,
        }
    }

    #[tokio::test]
    async fn the_second_reading_of_a_doubtful_port_counts_and_the_others_are_not_read_again() {
        let (dns, ntp) = (Port::udp(53), Port::udp(123));
        let listed = vec![socket(1, dns), socket(9, ntp)];
        let mut table = Table {
            answers: vec![vec![socket(1, dns), socket(2, dns)]],
            asked: Vec::new(),
        };
        let read = read_again(&mut table, listed.clone(), BTreeSet::from([dns])).await;
        let want = [socket(9, ntp), socket(1, dns), socket(2, dns)];
        assert_eq!(read.expect("read"), want);
        assert_eq!(table.asked, [BTreeSet::from([dns])]);
        let read = read_again(&mut table, listed.clone(), BTreeSet::new()).await;
        assert_eq!(read.expect("read"), listed);
    }
}
