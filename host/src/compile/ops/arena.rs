//! Places for tensors that live from one instruction to another: memory is used again once its tensor is dead.

use super::emitter::Declared;
use crate::compile::CompileError;
use crate::compile::plan::{Demand, memory_name};
use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;

/// Cost of a wrong plane against a preference.
const PREFERENCE: u64 = 1 << 20;

/// One tensor's place.
struct Placed {
    index: usize,
    space: Space,
    plane: u32,
    start: u64,
    end: u64,
    life: (usize, usize),
}

/// From which to which instruction a tensor's contents matter.
pub(crate) fn life(t: &Declared) -> (usize, usize) {
    match t.used {
        Some(used) if !t.resident => used,
        _ => (0, usize::MAX),
    }
}

/// What must lie in the memory of `t` at the worst moment of its life.
fn together(tensors: &[Declared], t: &Declared, words: &dyn Fn(&Declared) -> u64) -> Demand {
    let here = |at: usize| {
        let alive = |o: &&Declared| o.space == t.space && (life(o).0..=life(o).1).contains(&at);
        let bytes = t.space.element_bytes() as u64;
        let tensors = tensors.iter().filter(alive).map(|o| (o.name.clone(), o.class, words(o) * bytes)).collect();
        Demand { tensors }
    };
    // what is alive changes where a life begins
    let (first, last) = life(t);
    let begins = tensors.iter().map(|o| life(o).0).filter(|at| (first..=last).contains(at)).chain([first]);
    begins.map(here).max_by_key(Demand::bytes).unwrap_or_default()
}

/// An address for every tensor: residents first, then the largest, each at the lowest offset that is free for as long as it
/// lives, in the plane where it costs less.
pub(crate) fn arrange(
    tensors: &[Declared],
    conflicts: &[(usize, usize, u64)],
    machine: &Machine,
) -> Result<Vec<Addr>, CompileError> {
    let lanes = machine.lanes as u64;
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    let words = |t: &Declared| t.words().next_multiple_of(lanes);
    order.sort_by_key(|&i| (!tensors[i].resident, std::cmp::Reverse(words(&tensors[i])), i));
    let mut placed: Vec<Placed> = Vec::new();
    for index in order {
        let t = &tensors[index];
        let plane_words = if t.space == Space::Hmem { machine.hmem_plane() } else { machine.smem_plane() } as u64;
        let (life, size) = (life(t), words(t));
        let overlaps = |p: &&Placed| p.space == t.space && p.life.0 <= life.1 && life.0 <= p.life.1;
        let option = |plane: u32| {
            let taken: Vec<(u64, u64)> =
                placed.iter().filter(overlaps).filter(|p| p.plane == plane).map(|p| (p.start, p.end)).collect();
            let free = |&at: &u64| taken.iter().all(|&(s, e)| e <= at || at + size <= s);
            let start = taken.iter().map(|&(_, e)| e).chain([0]).filter(free).min().unwrap_or(0);
            let partner =
                |other: usize| placed.iter().any(|p| p.index == other && p.plane == plane && p.space == t.space);
            let clash = |&&(a, b, _): &&(usize, usize, u64)| a == index && partner(b) || b == index && partner(a);
            let cycles: u64 = conflicts.iter().filter(clash).map(|c| c.2).sum();
            let wrong = t.plane.is_some_and(|want| want != plane);
            (start + size > plane_words, cycles + if wrong { PREFERENCE } else { 0 }, start + size, plane, start)
        };
        let best = option(0).min(option(1));
        if best.0 {
            let bytes = t.space.element_bytes() as u64;
            let now = |p: &Placed| p.space == t.space && p.life.0 <= life.1 && life.0 <= p.life.1;
            let used =
                |plane: u32| placed.iter().filter(|p| now(p) && p.plane == plane).map(|p| p.end - p.start).sum::<u64>();
            let room = plane_words.saturating_sub(used(0).min(used(1)));
            return Err(CompileError::Memory {
                tensor: t.name.clone(),
                memory: memory_name(t.space),
                need: size * bytes,
                room: room * bytes,
                plane: plane_words * bytes,
                demand: together(tensors, t, &words),
            });
        }
        placed.push(Placed { index, space: t.space, plane: best.3, start: best.4, end: best.4 + size, life });
    }
    placed.sort_by_key(|p| p.index);
    Ok(placed.iter().map(|p| Addr::new(p.plane, p.start as u32)).collect())
}
