//! Every instruction survives its encoding; every word stream either decodes to something that encodes back, or is refused.

use proptest::prelude::*;
use systole_isa::check;
use systole_isa::frame;
use systole_isa::instr::*;
use systole_isa::machine::Machine;
use systole_isa::operand::*;

fn addr() -> impl Strategy<Value = Addr> {
    (0u32..=Addr::MASK).prop_map(Addr)
}
fn base() -> impl Strategy<Value = Base> {
    (addr(), 0u8..16).prop_map(|(addr, areg)| Base { addr, areg })
}
fn view() -> impl Strategy<Value = View> {
    (base(), any::<i16>(), any::<i16>()).prop_map(|(b, i, o)| View::new(b, i, o))
}
fn sync() -> impl Strategy<Value = Sync> {
    (0u8..16, 0u8..16, prop::option::of(0u8..4)).prop_map(|(wait_m, wait_v, flag)| Sync { wait_m, wait_v, flag })
}
fn modifiers(scaled: bool) -> impl Strategy<Value = Modifiers> {
    any::<[bool; 3]>().prop_map(move |[neg, s, abs]| Modifiers { neg, scaled: s && scaled, abs })
}
fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        (view(), modifiers(true)).prop_map(|(v, m)| Source::Hmem(v, m)),
        (view(), modifiers(false)).prop_map(|(v, m)| Source::Smem(v, m)),
        any::<u32>().prop_map(Source::Imm),
        (0u8..16, modifiers(false)).prop_map(|(r, m)| Source::Sreg(r, m)),
    ]
}
fn vector() -> impl Strategy<Value = Vector> {
    let dest = prop_oneof![
        view().prop_map(Dest::Hmem),
        view().prop_map(Dest::Smem),
        Just(Dest::None),
        (0u8..16).prop_map(Dest::Sreg)
    ];
    let shape = (1u16.., 1u16.., any::<bool>());
    (sync(), 0..VectorOp::ALL.len(), shape, source(), source(), source(), dest, prop::option::of(view())).prop_map(
        |(sync, op, (rows, cols, recurrent), x, y, z, d, copy)| {
            let one = matches!(d, Dest::Sreg(_));
            let (rows, cols) = if one { (1, 1) } else { (rows, cols) };
            Vector { sync, op: VectorOp::ALL[op], rows, cols, x, y, z, d, copy, recurrent }
        },
    )
}
fn gemm() -> impl Strategy<Value = Gemm> {
    let init = prop_oneof![
        Just(Init::Zero),
        base().prop_map(Init::BiasPerColumn),
        base().prop_map(Init::BiasPerRow),
        Just(Init::Accumulators)
    ];
    let out = prop_oneof![Just(Output::Keep), view().prop_map(Output::Half), view().prop_map(Output::Single)];
    let mask = prop_oneof![Just(Mask::None), base().prop_map(Mask::Write), base().prop_map(Mask::Apply)];
    (
        sync(),
        (1u16.., 1u16.., 1u16..),
        (1u16..=256, 1u16..=256, any::<u8>()),
        view(),
        view(),
        init,
        out,
        mask,
        any::<bool>(),
    )
        .prop_map(|(sync, (m, k, n), (m_block, n_group, acc_base), x, w, init, out, mask, relu)| Gemm {
            sync,
            m,
            k,
            n,
            m_block,
            n_group,
            acc_base,
            x,
            w,
            init,
            out,
            relu,
            mask,
        })
}
fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        Just(Control::Nop),
        Just(Control::End),
        (1u32..).prop_map(Control::Loop),
        Just(Control::EndLoop),
        any::<u32>().prop_map(Control::Call),
        Just(Control::Ret),
        (0u8..16, 0u32..1 << 20).prop_map(|(r, v)| Control::ASet(r, v)),
        (0u8..16, -(1i32 << 19)..1 << 19).prop_map(|(r, v)| Control::AAdd(r, v)),
        Just(Control::Fence),
    ]
}
fn instr() -> impl Strategy<Value = Instr> {
    prop_oneof![control().prop_map(Instr::Control), gemm().prop_map(Instr::Gemm), vector().prop_map(Instr::Vector)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn instructions_survive(i in instr()) {
        let w = i.encode();
        prop_assert_eq!(w.len(), length(w[0]));
        prop_assert_eq!(Instr::decode(&w), Ok(i));
        for cut in 0..w.len() {
            prop_assert_eq!(Instr::decode(&w[..cut]), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn words_never_panic(w in prop::collection::vec(any::<u32>(), 0..ENGINE_WORDS + 2), opcode in 0u32..=0x9f) {
        let mut w = w;
        if let Some(w0) = w.first_mut() {
            *w0 = (*w0 & !0xff) | opcode;
        }
        if let Ok(i) = Instr::decode(&w) {
            prop_assert_eq!(Instr::decode(&i.encode()), Ok(i), "what decodes means one thing");
        }
        let _ = check::program(&w, &Machine::DEFAULT);
    }

    #[test]
    fn addresses(plane in 0u32..2, offset in 0u32..1 << 19, delta in -1000i32..1000) {
        let a = Addr::new(plane, offset);
        prop_assert_eq!((a.plane(), a.offset()), (plane, offset));
        prop_assert_eq!(a.offset_by(delta).offset_by(-delta), a);
    }

    #[test]
    fn frame_headers(kind: u8, seq: u8, aux: u16, body in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut bytes = frame::header(kind, seq, aux).to_vec();
        bytes.extend(&body);
        let c = frame::Content::parse(&bytes).expect("a header's worth of bytes");
        prop_assert_eq!((c.kind, c.seq, c.aux, c.body), (kind, seq, aux, &body[..]));
        prop_assert_eq!(c.word(0).is_some(), body.len() >= 4);
    }
}

#[test]
fn crc_has_the_published_check_value() {
    // "123456789" -> cbf43926: the check value of CRC-32/ISO-HDLC in the RevEng catalogue
    assert_eq!(frame::crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn default_machines_are_valid() {
    for lanes in [2, 4, 8, 16] {
        assert_eq!(Machine::with_lanes(lanes).invalid(), None, "{lanes} lanes");
    }
    assert!(Machine { lanes: 6, ..Machine::DEFAULT }.invalid().is_some());
    assert!(Machine { vector_lanes: 16, ..Machine::DEFAULT }.invalid().is_some());
}
