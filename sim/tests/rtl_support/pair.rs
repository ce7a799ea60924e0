//! The model and the hardware, told the same and expected to answer the same.

use systole_isa::frame::{Kind, hello, run, status, step};
use systole_isa::machine::Machine;
use systole_sim::{Model, Rtl};

use super::{Client, Reply, Request, rtl};

/// Both devices.
pub struct Pair {
    pub model: Client<Model>,
    pub rtl: Client<Rtl>,
    machine: Machine,
}

/// Words of a reply that speak of cycles, builds or timing: only the hardware knows them.
fn unlike(kind: Kind) -> Vec<usize> {
    match kind {
        Kind::Hello => vec![hello::CLOCK_HZ, hello::DESIGN_HASH, hello::FIRMWARE_HASH],
        Kind::Step => [step::CYCLES, step::END_CYCLE].into_iter().chain(step::COUNTERS..step::COUNTERS + 8).collect(),
        Kind::Run => [run::CYCLES, run::LAST_GEMM].into_iter().chain(run::COUNTERS..run::COUNTERS + 8).collect(),
        Kind::Status => [0, 1, status::SEG_STATUS].into_iter().chain(status::COUNTERS..status::WORDS).collect(),
        _ => Vec::new(),
    }
}

/// A reply without what only the hardware knows.
fn masked(request: &Request, reply: &Reply) -> Reply {
    let mut r = reply.clone();
    if r.kind != Kind::Error as u8 {
        for i in unlike(request.kind) {
            r.body[4 * i..4 * i + 4].fill(0);
        }
    }
    r
}

impl Pair {
    pub fn new(machine: Machine) -> Pair {
        Pair {
            model: Client::new(Model::new(machine).expect("valid machine")),
            rtl: Client::new(rtl(machine)),
            machine,
        }
    }

    /// Holds one burst of requests on both devices and compares the replies. `what` is printed where they differ.
    pub fn same(&mut self, what: &str, requests: &[Request]) -> Vec<Reply> {
        let (model, rtl) = (self.model.burst(requests), self.rtl.burst(requests));
        for ((request, m), r) in requests.iter().zip(&model).zip(&rtl) {
            let (m, r) = (masked(request, m), masked(request, r));
            let (kind, words) = (request.kind, &request.words);
            assert!(m == r, "{what}: replies to {kind:?} {words:x?} differ:\nmodel {m:x?}\nrtl   {r:x?}");
        }
        rtl
    }

    /// One request.
    pub fn ask(&mut self, what: &str, kind: Kind, words: &[u32]) -> Reply {
        self.same(what, &[Request::new(kind, words, &[])]).remove(0)
    }

    /// Writes consecutive elements of a space.
    pub fn write(&mut self, space: u32, at: u32, bytes: &[u8]) {
        let size = if space == 0 { 2 } else { 4 };
        let block: Vec<Request> = bytes
            .chunks(1024)
            .enumerate()
            .map(|(i, part)| {
                let count = (part.len() / size) as u32;
                let at = at + (i * 1024 / size) as u32;
                Request::new(Kind::Write, &[space, at, count | 1 << 16, count], part)
            })
            .collect();
        // half of the smallest ring may be outstanding
        for burst in block.chunks(2) {
            self.same("write", burst);
        }
    }

    /// Reads all memories that the link reaches, and compares them.
    pub fn compare(&mut self, what: &str) {
        let m = self.machine;
        let planes = [
            (0, 0, m.hmem_plane(), 512),
            (0, 1 << 19, m.hmem_plane(), 512),
            (1, 0, m.smem_plane(), 256),
            (1, 1 << 19, m.smem_plane(), 256),
        ];
        for (space, base, words, step) in planes {
            for at in (0..words).step_by(step) {
                let count = (words - at).min(step as u32);
                let block = [Request::new(Kind::Read, &[space, base + at, count | 1 << 16, count], &[])];
                let (model, rtl) = (self.model.burst(&block).remove(0), self.rtl.burst(&block).remove(0));
                let size = if space == 0 { 2 } else { 4 };
                let different: Vec<usize> = (0..count as usize)
                    .filter(|i| model.body[i * size..(i + 1) * size] != rtl.body[i * size..(i + 1) * size])
                    .collect();
                let show = |r: &Reply, i: usize| {
                    r.body[i * size..(i + 1) * size].iter().rev().map(|b| format!("{b:02x}")).collect::<String>()
                };
                let list: Vec<String> = different
                    .iter()
                    .take(12)
                    .map(|&i| {
                        format!(
                            "{:#x}: model {} rtl {}",
                            base as usize + at as usize + i,
                            show(&model, i),
                            show(&rtl, i)
                        )
                    })
                    .collect();
                let name = ["hmem", "smem"][space as usize];
                assert!(
                    different.is_empty(),
                    "{what}: {} elements of {name} differ:\n{}",
                    different.len(),
                    list.join("\n")
                );
            }
        }
    }
}
