//! Address pins of small memories that a synthesised netlist ties to zero, joined with others before placement.
//!
//! A `TRELLIS_DPR16X4` has sixteen rows. Of a memory with four (a weight store) two address bits are zero at both ports, and
//! nextpnr brings that zero from one cell of the device to each such pin: on the machine with N = 8 a net of four thousand pins
//! that passes every processing element. Read and write port address the same rows as long as both treat a pin alike, so such a
//! pin may as well repeat another bit of the address, whose wire is there anyway: row `r` then lies elsewhere, and nobody can tell.

use serde_json::{Map, Value};

const KIND: &str = "TRELLIS_DPR16X4";

/// Joins the pins in a module's cells. Returns how many.
///
/// A memory that starts with given contents stays as it is: its rows have their places.
pub fn join(cells: &mut Map<String, Value>) -> u32 {
    let mut joined = 0;
    for cell in cells.values_mut().filter(|c| c["type"] == KIND) {
        let given = cell["parameters"]["INITVAL"].as_str().is_some_and(|bits| bits.contains(['0', '1']));
        let pin = |port: &str, k: usize| cell["connections"][port][k].clone();
        let zero = |k: usize| pin("RAD", k) == "0" && pin("WAD", k) == "0";
        let live = |k: &usize| pin("RAD", *k).is_u64() && pin("WAD", *k).is_u64();
        let (Some(from), false) = ((0..4).find(live), given) else { continue };
        let zeros: Vec<usize> = (0..4).filter(|k| zero(*k)).collect();
        let (read, write) = (pin("RAD", from), pin("WAD", from));
        for k in zeros {
            cell["connections"]["RAD"][k] = read.clone();
            cell["connections"]["WAD"][k] = write.clone();
            joined += 2;
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn joined(read: Value, write: Value, init: &str) -> (u32, Value, Value) {
        let cell = json!({"type": KIND, "parameters": {"INITVAL": init}, "connections": {"RAD": read, "WAD": write}});
        let mut cells = Map::from_iter([("ram".to_string(), cell)]);
        let count = join(&mut cells);
        let at = &cells["ram"]["connections"];
        (count, at["RAD"].clone(), at["WAD"].clone())
    }

    #[test]
    fn both_ports_repeat_the_same_bit() {
        let (count, read, write) = joined(json!([7, 8, "0", "0"]), json!([9, 10, "0", "0"]), "xxxx");
        assert_eq!((count, read, write), (4, json!([7, 8, 7, 7]), json!([9, 10, 9, 9])));
    }

    #[test]
    fn each_row_keeps_a_place_of_its_own() {
        // the address that four pins make of two bits, for every pair of bits
        let (_, read, _) = joined(json!([1, 2, "0", "0"]), json!([1, 2, "0", "0"]), "x");
        let pins: Vec<u64> = read.as_array().unwrap().iter().map(|b| b.as_u64().unwrap()).collect();
        let row = |bits: [u64; 2]| pins.iter().map(|p| bits[*p as usize - 1]).fold(0, |a, b| a * 2 + b);
        let mut rows: Vec<u64> = [[0, 0], [0, 1], [1, 0], [1, 1]].map(row).to_vec();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), 4);
    }

    #[test]
    fn what_differs_or_has_contents_stays() {
        let apart = (json!([7, 8, 9, "0"]), json!([9, 10, "0", "1"]));
        assert_eq!(joined(apart.0.clone(), apart.1.clone(), "x"), (0, apart.0, apart.1));
        let full = (json!([7, 8, "0", "0"]), json!([9, 10, "0", "0"]));
        assert_eq!(joined(full.0.clone(), full.1.clone(), "0101"), (0, full.0, full.1));
        let none = json!(["0", "0", "0", "0"]);
        assert_eq!(joined(none.clone(), none.clone(), "x"), (0, none.clone(), none));
    }
}
