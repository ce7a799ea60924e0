//! The Verilated hardware as a device: real firmware, real frames.

mod rtl_support;

use defmt_decoder::{DecodeError, Table};
use rtl_support::{Client, Rng, SHARED, build, rtl};
use systole_isa::frame::{Kind, NakReason, hello, status};
use systole_sim::{Port, Rtl};

#[test]
fn it_boots_and_says_what_it_is() {
    let device = rtl(SHARED);
    let boot = device.boot_cycles();
    println!("boot took {boot} cycles, {:.0} kHz", device.speed().khz());
    assert!(boot < 100_000, "{boot} cycles");
    let mut c = Client::new(device);
    let words = c.ok(Kind::Status, &[]);
    assert_eq!(words.len(), status::WORDS);
    assert_eq!(words[status::RX_ERRORS], 0);
    assert_eq!(words[status::REQUESTS], 2);
    let first = words[status::CYCLE];
    let second = c.ok(Kind::Status, &[])[status::CYCLE];
    println!("a status takes {} cycles", second - first);
    assert!(u64::from(second) < c.device.cycles().unwrap());

    let mut again = Client::new(rtl(SHARED));
    let words = again
        .ok(Kind::Hello, &[systole_isa::frame::HELLO_MAGIC, systole_isa::PROTOCOL_VERSION, systole_isa::ISA_VERSION]);
    assert_eq!(words[hello::LANES] & 0xffff, SHARED.lanes | SHARED.vector_lanes << 8);
    assert_eq!(words[hello::HMEM_WORDS], SHARED.hmem_words);
    assert_eq!(words[hello::SMEM_WORDS], SHARED.smem_words);
    assert_eq!(words[hello::MASK_BITS], SHARED.mask_bits);
    assert_eq!(words[hello::PMEM_WORDS], SHARED.pmem_words);
    assert_eq!(words[hello::ACC_ROWS], SHARED.acc_rows);
    assert_eq!(words[hello::RING_BYTES], SHARED.rx_ring_bytes | SHARED.tx_ring_bytes << 16);
    assert_ne!(words[hello::DESIGN_HASH], 0);
    assert_ne!(words[hello::FIRMWARE_HASH], 0);
}

#[test]
fn every_memory_gives_back_what_it_got() {
    let mut c = Client::new(rtl(SHARED));
    let mut rng = Rng(11);
    for (space, bytes, places) in
        [(0, 2, [8, 4096 - 520, 1 << 19 | 3]), (1, 4, [0, 2048 - 256, 1 << 19 | 5]), (2, 4, [0, 1, 700])]
    {
        for at in places {
            let count = 256.min(1024 / bytes as u32);
            let data: Vec<u8> = (0..count * bytes).map(|_| rng.bits() as u8).collect();
            let block = [space, at, count | 1 << 16, count];
            c.request(Kind::Write, &block, &data).unwrap();
            assert_eq!(c.request(Kind::Read, &block, &[]).unwrap().body, data, "space {space} at {at:#x}");
        }
    }
    // rows with a pitch: what lies between them stays
    let data: Vec<u8> = (1..=12).collect();
    c.ok(Kind::Fill, &[0, 40, 16 | 1 << 16, 16, 0xffff]);
    c.request(Kind::Write, &[0, 40, 3 | 2 << 16, 8], &data).unwrap();
    let got = c.request(Kind::Read, &[0, 40, 12 | 1 << 16, 12], &[]).unwrap().body;
    assert_eq!(got[..6], data[..6]);
    assert_eq!(got[16..22], data[6..]);
    assert!(got[6..16].iter().all(|&b| b == 0xff));
    // bytes become halves: 128·2^-8 = 0.5
    c.request(Kind::Write, &[1 << 8 | 0xf8 << 16, 40, 4 | 1 << 16, 4], &[0, 1, 128, 255]).unwrap();
    let got = c.request(Kind::Read, &[0, 40, 4 | 1 << 16, 4], &[]).unwrap().words();
    assert_eq!(got, [0x1c00_0000, 0x3bf8_3800]);
    // two blocks in a frame, again and again: halves at 40, then bytes in the other plane
    for round in 0..5u8 {
        let mut body: Vec<u8> = vec![round + 1; 6];
        body.extend([0, 0]);
        body.extend([1 << 8, 1 << 19 | 40, 2 | 1 << 16, 2].iter().flat_map(|w: &u32| w.to_le_bytes()));
        body.extend([round, 1]);
        c.request(Kind::Write, &[1 << 24, 40, 3 | 1 << 16, 3], &body).unwrap();
        let got = c.request(Kind::Read, &[0, 40, 3 | 1 << 16, 3], &[]).unwrap().body;
        assert_eq!(got, [round + 1; 6]);
        let got = c.request(Kind::Read, &[0, 1 << 19 | 40, 2 | 1 << 16, 2], &[]).unwrap().body;
        let halves = [round, 1].map(|b| half::f16::from_f32(f32::from(b)).to_le_bytes());
        assert_eq!(got, halves.concat());
    }
}

#[test]
fn a_damaged_frame_is_asked_for_again() {
    let mut c = Client::new(rtl(SHARED));
    c.drain();
    let request = c.next;
    let good = Client::<Rtl>::frame(request, Kind::Fill as u8, &[1, 0, 1 | 1 << 16, 1, 77], &[]);
    for i in [0, 3, 9, good.len() - 2] {
        let mut bad = good.clone();
        bad[i] ^= 0x10;
        c.device.send(&bad).unwrap();
        c.device.send(&[0]).unwrap();
        assert!(c.drain().is_empty(), "nothing is executed");
        // every damaged frame is told of, because the one asked for may be the damaged one
        let naks: Vec<_> = c.notices.drain(..).map(|n| (n[0], n[1], n[2])).collect();
        assert_eq!(naks, [(Kind::Nak as u8, request, NakReason::Damaged as u8)], "byte {i}");
    }
    assert!(c.request(Kind::Fill, &[1, 0, 1 | 1 << 16, 1, 77], &[]).unwrap().body.is_empty());
    let words = c.ok(Kind::Status, &[]);
    assert_eq!(words[status::RX_ERRORS], 4);
    assert_eq!(c.ok(Kind::Read, &[1, 0, 1 | 1 << 16, 1]), [77]);
}

#[test]
fn the_log_is_readable() {
    let mut c = Client::new(rtl(SHARED));
    c.drain();
    let elf = std::fs::read(c.device.firmware_elf()).unwrap();
    let table = Table::parse(&elf).expect("a defmt section").expect("strings");
    let mut decoder = table.new_stream_decoder();
    decoder.received(&c.log);
    let mut lines = Vec::new();
    loop {
        match decoder.decode() {
            Ok(frame) => lines.push(frame.display_message().to_string()),
            Err(DecodeError::UnexpectedEof) => break,
            Err(DecodeError::Malformed) => panic!("a damaged log: {:x?}", c.log),
        }
    }
    println!("{lines:#?}");
    let hello = format!("hello: protocol {}, isa {}", systole_isa::PROTOCOL_VERSION, systole_isa::ISA_VERSION);
    assert!(lines.iter().any(|l| l.contains(&hello)), "{lines:?}");
}

#[test]
fn the_same_conversation_takes_the_same_cycles() {
    let build = build(SHARED);
    let run = || {
        let mut c = Client::new(Rtl::start(&build, None).unwrap());
        c.ok(Kind::Fill, &[1, 0, 100 | 1 << 16, 100, 5]);
        (c.ok(Kind::Status, &[]), c.device.cycles())
    };
    assert_eq!(run(), run());
}
