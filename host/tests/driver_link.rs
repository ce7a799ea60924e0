//! The link against scripted devices: what is lost, damaged, refused or never answered.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use systole::driver::framing::{Deframer, Event, encode};
use systole::driver::link::{Link, Timeouts};
use systole::driver::requests::Block;
use systole::error::Error;
use systole_isa::frame::{
    Content, ErrorCode, HELLO_MAGIC, Kind, MAX_CONTENT, NakReason, REPLIES, REPLY, WINDOW, header, hello,
};
use systole_isa::machine::Machine;
use systole_isa::regs::Space;
use systole_isa::{ISA_VERSION, PROTOCOL_VERSION};
use systole_sim::port::Port;

/// What a scripted device does with the content that arrives as the `usize`-th one: bytes to put on the wire.
type Script = Box<dyn FnMut(usize, &[u8]) -> io::Result<Vec<u8>> + Send>;

#[derive(Default)]
struct Seen {
    contents: Vec<Vec<u8>>,
}

struct Scripted {
    script: Script,
    deframer: Deframer,
    out: Vec<u8>,
    seen: Arc<Mutex<Seen>>,
}

impl Port for Scripted {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut contents = Vec::new();
        self.deframer.push(bytes, |e| match e {
            Event::Content(c) => contents.push(c),
            Event::Damaged(_) => panic!("the host sent a damaged frame"),
        });
        for c in contents {
            let index = {
                let mut seen = self.seen.lock().unwrap();
                seen.contents.push(c.clone());
                seen.contents.len() - 1
            };
            let reply = (self.script)(index, &c)?;
            self.out.extend(reply);
        }
        Ok(())
    }
    fn receive(&mut self, out: &mut Vec<u8>, _timeout: Duration) -> io::Result<usize> {
        let bytes = std::mem::take(&mut self.out);
        out.extend_from_slice(&bytes);
        Ok(bytes.len())
    }
    fn name(&self) -> String {
        "scripted".into()
    }
}

fn link(script: impl FnMut(usize, &[u8]) -> io::Result<Vec<u8>> + Send + 'static) -> (Link, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let port =
        Scripted { script: Box::new(script), deframer: Deframer::default(), out: Vec::new(), seen: seen.clone() };
    let timeouts = Timeouts {
        deadline: Duration::from_millis(300),
        retransmit: Duration::from_millis(5),
        poll: Duration::from_millis(1),
        ..Timeouts::default()
    };
    (Link::new(Box::new(port), timeouts), seen)
}

fn frame(kind: u8, seq: u8, aux: u16, words: &[u32]) -> Vec<u8> {
    let mut content = header(kind, seq, aux).to_vec();
    content.extend(words.iter().flat_map(|w| w.to_le_bytes()));
    encode(&content)
}

/// The answer of a healthy device to anything.
fn answer(content: &[u8]) -> Vec<u8> {
    let c = Content::parse(content).unwrap();
    let words: Vec<u32> = match Kind::from_u8(c.kind).unwrap() {
        Kind::Hello => hello_words(PROTOCOL_VERSION),
        Kind::Status => vec![c.seq.into(); 17],
        _ => vec![],
    };
    frame(c.kind | REPLY, c.seq, 0, &words)
}

fn hello_words(protocol: u32) -> Vec<u32> {
    let m = Machine::DEFAULT;
    let mut w = vec![0; hello::WORDS];
    w[hello::MAGIC] = HELLO_MAGIC;
    w[hello::PROTOCOL] = protocol;
    w[hello::ISA] = ISA_VERSION;
    w[hello::LANES] = m.size_word();
    w[hello::HMEM_WORDS] = m.hmem_words;
    w[hello::SMEM_WORDS] = m.smem_words;
    w[hello::MASK_BITS] = m.mask_bits;
    w[hello::PMEM_WORDS] = m.pmem_words;
    w[hello::ACC_ROWS] = m.acc_rows;
    w[hello::RING_BYTES] = m.rx_ring_bytes | m.tx_ring_bytes << 16;
    w[hello::FIRMWARE_BYTES] = m.firmware_bytes;
    w
}

fn seqs(seen: &Mutex<Seen>) -> Vec<u8> {
    seen.lock().unwrap().contents.iter().map(|c| c[1]).collect()
}

#[test]
fn hello_tells_the_machine() {
    let (mut link, _) = link(|_, c| Ok(answer(c)));
    let info = link.hello().unwrap();
    assert_eq!(info.machine, Machine::DEFAULT);
    assert_eq!(info.machine.adder_latency, 3);
}

#[test]
fn a_lost_request_and_a_lost_reply_are_both_made_good() {
    let (mut link, seen) = link(|i, c| Ok(if i == 1 { vec![] } else { answer(c) }));
    link.hello().unwrap();
    assert_eq!(link.status().unwrap().naks, 1);
    assert_eq!(seqs(&seen), [0, 1, 1]);
    assert_eq!(link.statistics().retransmitted, 1);
}

#[test]
fn a_nak_sends_again_from_the_number_wanted() {
    // numbers 1, 2, 3 arrive; the device says that it lost 2
    let (mut link, seen) = link(|i, c| {
        Ok(match i {
            2 => frame(Kind::Nak as u8, 2, NakReason::Damaged as u16, &[]),
            3 => vec![],
            _ => answer(c),
        })
    });
    link.hello().unwrap();
    for _ in 0..3 {
        link.fill(Block::line(Space::Hmem, 0, 8), 0).unwrap();
    }
    link.drain().unwrap();
    assert_eq!(seqs(&seen), [0, 1, 2, 3, 2, 3]);
}

#[test]
fn a_damaged_reply_is_asked_for_again_and_executed_once() {
    let (mut link, seen) = link(|i, c| {
        let mut wire = answer(c);
        if i == 1 {
            wire[5] ^= 0x40;
        }
        Ok(wire)
    });
    link.hello().unwrap();
    link.status().unwrap();
    assert_eq!(seqs(&seen), [0, 1, 1]);
    assert_eq!(link.statistics().damaged, 1);
}

#[test]
fn a_duplicated_reply_is_counted_and_ignored() {
    let (mut link, _) = link(|_, c| Ok(answer(c).repeat(2)));
    link.hello().unwrap();
    link.status().unwrap();
    link.status().unwrap();
    assert!(link.statistics().stale >= 2);
}

#[test]
fn never_more_than_the_window_and_the_ring_less_a_frame_are_outstanding() {
    let outstanding = Arc::new(Mutex::new((0usize, 0usize, 0usize, 0usize)));
    let (mut held, mut answered): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    let inner = outstanding.clone();
    let (mut link, _) = link(move |i, c| {
        if i == 0 {
            return Ok(answer(c));
        }
        // answers come only when something is sent again: until then everything stays outstanding
        if answered.iter().any(|h| h == c) {
            return Ok(answer(c));
        }
        if held.iter().any(|h| h == c) {
            let all = held.iter().flat_map(|h| answer(h)).collect();
            answered.append(&mut held);
            return Ok(all);
        }
        held.push(c.to_vec());
        let mut o = inner.lock().unwrap();
        o.0 = o.0.max(held.len());
        o.1 = o.1.max(held.iter().map(|h| h.len() + 4).sum());
        Ok(vec![])
    });
    link.hello().unwrap();
    let small = Block::line(Space::Hmem, 0, 4);
    for _ in 0..100 {
        link.fill(small, 1).unwrap();
    }
    link.write(Block::line(Space::Smem, 0, 4000), &[0; 16000]).unwrap();
    link.drain().unwrap();
    let o = outstanding.lock().unwrap();
    assert_eq!(o.0, WINDOW);
    let most = Machine::DEFAULT.rx_ring_bytes as usize - (MAX_CONTENT + 8);
    assert!(o.1 > 4096 && o.1 <= most, "{} bytes", o.1);
    drop(o);
    // and only so many of them whose replies the device must keep
    *outstanding.lock().unwrap() = (0, 0, 0, 0);
    let tickets: Vec<_> = (0..30).map(|_| link.submit(Kind::ScalerGet, &[0; 4]).unwrap()).collect();
    tickets.into_iter().for_each(|t| drop(link.wait(t).unwrap()));
    assert_eq!(outstanding.lock().unwrap().0, REPLIES);
}

#[test]
fn a_silent_device_is_given_up_in_time_with_numbers() {
    let (mut link, _) = link(|_, _| Ok(vec![]));
    let started = Instant::now();
    let error = link.hello().unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2));
    let text = error.to_string();
    assert!(matches!(error, Error::Timeout { received: 0, .. }), "{text}");
    assert!(text.contains("Hello") && text.contains("connecting") && text.contains("0.3 s"), "{text}");
    assert!(error.help().contains("nothing at all"));
    assert_eq!(error.exit_code(), 5);
}

#[test]
fn a_device_that_babbles_is_given_up_too() {
    let (mut link, _) = link(|_, _| Ok(vec![0x55; 100]));
    assert!(matches!(link.hello(), Err(Error::Timeout { received: 1.., .. })));
}

#[test]
fn other_versions_are_refused_with_both_named() {
    for by_error in [false, true] {
        let (mut link, _) = link(move |_, c| {
            Ok(if by_error {
                frame(Kind::Error as u8, c[1], 0, &[ErrorCode::Version as u32, 77, ISA_VERSION])
            } else {
                frame(Kind::Hello as u8 | REPLY, c[1], 0, &hello_words(77))
            })
        });
        let text = link.hello().unwrap_err().to_string();
        assert!(text.contains("77") && text.contains(&format!("protocol {PROTOCOL_VERSION}")), "{text}");
    }
}

#[test]
fn a_refusal_is_explained() {
    let (mut link, _) = link(|i, c| {
        Ok(if i == 0 {
            answer(c)
        } else {
            frame(Kind::Error as u8, c[1], 0, &[ErrorCode::OutOfRange as u32, 0x9000, 0x8000])
        })
    });
    link.hello().unwrap();
    let text = link.read(Block::line(Space::Smem, 0, 1)).unwrap_err().to_string();
    assert!(text.contains("0x9000") && text.contains("Read"), "{text}");
    // a posted request fails at the next wait
    link.fill(Block::line(Space::Smem, 0, 1), 0).unwrap();
    assert!(matches!(link.drain(), Err(Error::Device { .. })));
}

#[test]
fn a_restart_in_mid_session_is_named() {
    let (mut link, _) = link(|i, c| Ok(if i == 1 { frame(Kind::Boot as u8, 0, 0, &[]) } else { answer(c) }));
    link.hello().unwrap();
    link.phase("training");
    assert!(matches!(link.status(), Err(Error::DeviceRestarted { phase, .. }) if phase == "training"));
}

#[test]
fn a_pulled_cable_is_named() {
    let (mut link, _) = link(|i, c| if i == 1 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(answer(c)) });
    link.hello().unwrap();
    assert!(matches!(link.status(), Err(Error::PortLost { .. })));
}

#[test]
fn log_chunks_are_collected() {
    let (mut link, _) = link(|_, c| {
        let mut wire = frame(Kind::Log as u8, 9, 3, &[0x01020304]);
        wire.extend(answer(c));
        Ok(wire)
    });
    link.hello().unwrap();
    assert_eq!(link.take_logs(), [(9, 3, vec![4, 3, 2, 1])]);
}
