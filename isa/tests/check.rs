//! The static check finds what it promises to find.

use systole_isa::check::{FaultKind, program};
use systole_isa::instr::*;
use systole_isa::machine::Machine;
use systole_isa::operand::*;

const M: Machine = Machine::DEFAULT;

fn view(offset: u32, inner: i16, outer: i16) -> View {
    View::new(Base::at(Addr::new(0, offset)), inner, outer)
}

fn product() -> Gemm {
    Gemm {
        sync: Sync::default(),
        m: 32,
        k: 64,
        n: 32,
        m_block: 32,
        n_group: 4,
        acc_base: 0,
        x: view(0, 1, 65),
        w: View::new(Base::at(Addr::new(1, 0)), 1, 33),
        init: Init::Zero,
        out: Output::Half(view(4096, 1, 33)),
        relu: false,
        mask: Mask::None,
    }
}

fn words(instrs: &[Instr]) -> Vec<u32> {
    instrs.iter().flat_map(|i| i.encode().to_vec()).collect()
}

fn fault(instrs: &[Instr]) -> Option<FaultKind> {
    program(&words(instrs), &M).err().map(|f| f.what)
}

#[test]
fn a_sound_program_passes() {
    let p = [
        Instr::Control(Control::Loop(3)),
        Instr::Gemm(product()),
        Instr::Control(Control::EndLoop),
        Instr::Control(Control::End),
    ];
    assert_eq!(fault(&p), None);
}

#[test]
fn each_fault_is_named() {
    let room = M.hmem_plane();
    let cases: [(Gemm, FaultKind); 5] = [
        (Gemm { n_group: 9, ..product() }, FaultKind::Accumulators { need: 288, room: 256 }),
        (Gemm { x: view(0, 2, 65), ..product() }, FaultKind::Stride(2)),
        (Gemm { x: view(0, 0, 65), ..product() }, FaultKind::Stride(0)),
        (
            Gemm { out: Output::Half(view(room - 1, 1, 33)), ..product() },
            FaultKind::Range { offset: i64::from(room) - 1 + 31 * 33 + 31, room },
        ),
        (Gemm { x: view(0, -7, 65), ..product() }, FaultKind::Range { offset: -7 * 63, room }),
    ];
    for (g, want) in cases {
        assert_eq!(fault(&[Instr::Gemm(g)]), Some(want));
    }
    assert_eq!(fault(&[Instr::Control(Control::EndLoop)]), Some(FaultKind::Loops));
    assert_eq!(fault(&[Instr::Control(Control::Loop(1)), Instr::Control(Control::End)]), Some(FaultKind::Loops));
    assert_eq!(fault(&[Instr::Control(Control::Call(7))]), Some(FaultKind::CallTarget(7)));
    let long = vec![0; M.pmem_words as usize + 2];
    assert!(matches!(program(&long, &M), Err(f) if matches!(f.what, FaultKind::TooLong { .. })));
}
