//! The whole table of verdicts: every row × tags × headers × parts × cuts at every byte, on the host and
//! in the kernel.
//!
//! What is expected comes from the row and from where the frame's builder says that its headers end,
//! never from the code under test.

mod neighbors;
mod rows;

use anycast_common::Reason;
use anycast_common::abi::Disposition;
use anycast_tests::packet::{Frame, Layers, Part};

use crate::support::{Bed, Seen, ip};
use rows::{Outcome, Row, bed, rows};

/// How a frame loses its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The frame is shorter than its headers say.
    Frame,
    /// The packet is shorter, and its IP header says so.
    Packet,
}

/// A row in one of its variants.
struct Variant<'row> {
    row: &'row Row,
    part: Part,
    /// Whether there are neither options nor extension headers.
    plain: bool,
    frame: Frame,
}

/// Every variant of the rows: tags, headers, parts.
fn variants(rows: &[Row]) -> Vec<Variant<'_>> {
    let mut variants = Vec::new();
    for row in rows {
        let [v4, v6] = row
            .between()
            .map(|(from, to)| Frame::new(ip(from), ip(&to)));
        for (plain, headers) in [
            (true, v4.clone()),
            (false, v4.options(&[1; 8])),
            (true, v6.clone()),
            (false, v6.extension(0, 0).extension(60, 1)),
        ] {
            for tagged in [
                headers.clone(),
                headers.clone().vlan(5),
                headers.clone().qinq(5, 6),
            ] {
                for part in [Part::Whole, Part::First, Part::Later] {
                    variants.push(Variant {
                        row,
                        part,
                        plain,
                        frame: (row.carries)(tagged.clone().part(part)),
                    });
                }
            }
        }
    }
    variants
}

impl Variant<'_> {
    /// The frame that ends at byte `end`, as the builder would describe it, and its bytes.
    fn cut(&self, cut: Cut, end: usize) -> (Frame, Vec<u8>) {
        let layers = self.frame.layers();
        let (frame, mut bytes) = match cut {
            Cut::Frame => (self.frame.clone(), self.frame.bytes()),
            Cut::Packet => {
                let frame = self
                    .frame
                    .clone()
                    .keep(end.saturating_sub(layers.transport));
                let bytes = frame.bytes();
                (frame, bytes)
            }
        };
        self.row.spoil(&layers, &mut bytes);
        bytes.truncate(end);
        if cut == Cut::Packet && layers.fixed <= end && end < layers.transport {
            shorten(&layers, &mut bytes);
        }
        (frame, bytes)
    }

    /// What the table says of it.
    fn expected(&self, cut: Cut, end: usize) -> Outcome {
        let (row, layers) = (self.row, self.frame.layers());
        if end < layers.fixed {
            return Outcome::Pass(Reason::NotIp);
        }
        if row.service.is_none() {
            return Outcome::Pass(Reason::NotOurs);
        }
        if row.spoiled.is_some() || cut == Cut::Frame && end < layers.end || end < layers.transport
        {
            return Outcome::Drop(Reason::Malformed);
        }
        let transport = end - layers.transport;
        let whole = layers.end - layers.transport;
        match self.part {
            Part::Later => row.later,
            _ if transport < row.needs => Outcome::Drop(Reason::Malformed),
            Part::First if transport < row.enough(&layers) => row.short,
            Part::First => row.first,
            Part::Whole if row.exact && transport < whole => Outcome::Drop(Reason::Malformed),
            Part::Whole if transport < row.enough(&layers) => row.short,
            Part::Whole if self.plain => row.whole,
            Part::Whole => row.not_plain.unwrap_or(row.whole),
        }
    }

    fn want(&self, outcome: Outcome, frame: &Frame, bytes: &[u8]) -> Seen {
        let (disposition, reason, after) = match outcome {
            Outcome::Pass(reason) => (Disposition::Pass, reason, bytes.to_vec()),
            Outcome::Drop(reason) => (Disposition::Drop, reason, bytes.to_vec()),
            Outcome::Answer(reason, reply) => (Disposition::Answer, reason, reply(frame)),
        };
        let ours = !matches!(reason, Reason::NotIp | Reason::NotOurs);
        Seen {
            disposition,
            reason,
            service: self.row.service.filter(|_| ours).map(str::to_owned),
            frame: after,
        }
    }
}

/// Corrects the length in the IP header to the bytes that are there.
fn shorten(layers: &Layers, bytes: &mut [u8]) {
    let v4 = layers.fixed - layers.network == 20;
    let (at, covered) = if v4 {
        (2, bytes.len() - layers.network)
    } else {
        (4, bytes.len() - layers.fixed)
    };
    let length = u16::try_from(covered).expect("short").to_be_bytes();
    bytes[layers.network + at..][..2].copy_from_slice(&length);
}

/// Compares one frame's verdict; the kernel takes no frame shorter than an Ethernet header.
fn check(bed: &mut Bed, name: &str, bytes: &[u8], want: &Seen) {
    assert_eq!(
        &bed.on_host(bytes),
        want,
        "on the host: {name}: {bytes:02x?}"
    );
    if bytes.len() < 14 {
        return;
    }
    if want.reason == Reason::SourceLimited {
        // The limit lets one packet a second through: whichever that is, the next one is over it.
        let seen = [bed.explained(bytes), bed.explained(bytes)];
        assert!(seen.contains(want), "in the kernel: {name}: {seen:?}");
        return;
    }
    assert_eq!(
        &bed.in_kernel(bytes),
        want,
        "in the kernel: {name}: {bytes:02x?}"
    );
}

fn run(cut: Cut) {
    let mut bed = bed();
    let rows = rows();
    let mut frames = 0;
    for variant in variants(&rows) {
        let layers = variant.frame.layers();
        for end in 0..=layers.end {
            let (frame, bytes) = variant.cut(cut, end);
            let want = variant.want(variant.expected(cut, end), &frame, &bytes);
            let name = format!("{}, {:?}, {end} bytes", variant.row.name, variant.part);
            check(&mut bed, &name, &bytes, &want);
            frames += 1;
        }
    }
    println!("{} rows, {frames} frames", rows.len());
    assert!(frames > 30_000, "{frames} frames are not all there are");
}

#[test]
fn every_row_in_every_variant_has_its_verdict_where_the_frame_is_cut_at_any_byte() {
    run(Cut::Frame);
}

#[test]
fn every_row_in_every_variant_has_its_verdict_where_the_packet_ends_at_any_byte() {
    run(Cut::Packet);
}
