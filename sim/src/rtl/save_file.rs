//! Save files for GTKWave (`.gtkw`) and Surfer (`.sucl`): of 20,000 signals, the hundred that a reader wants, in groups.

use std::fmt::Write as _;
use std::path::Path;

use super::wave::{TOP, Wave};
use super::{Error, Result};

/// Titles, and signals below [`TOP`]. `#` is a row or column of the array; PE (i, j) is number i·N + j.
const GROUPS: [(&str, &[&str]); 8] = [
    (
        "link",
        &["rx_valid", "rx_data", "tx_valid", "tx_data", "mover_w_req", "mover_w_addr", "mover_w_wdata", "mover_r_req"],
    ),
    (
        "fetcher",
        &[
            "control.fetcher.pc_q",
            "control_m_iw_valid",
            "control_v_iw_valid",
            "control_iw_pc",
            "control_iw_data",
            "matrix_done_count",
            "vector_done_count",
        ],
    ),
    (
        "matrix engine",
        &[
            "matrix_busy",
            "matrix_stall_wait",
            "matrix_stall_mem",
            "matrix.issue_pc",
            "matrix_w_req",
            "matrix_w_addr",
            "matrix_x_req",
            "matrix_x_addr",
            "matrix_row_streamed",
            "matrix_out_req",
            "matrix_out_smem",
            "matrix_out_addr",
            "matrix_out_data_0",
        ],
    ),
    (
        "array, row 0",
        &[
            "matrix.array.w_we_0",
            "matrix.array.w_slot",
            "matrix.array.w_data_0",
            "matrix.array.act_valid_0",
            "matrix.array.act_tag_0",
            "matrix.array.act_0",
            "matrix.array.pe_{row}.act",
        ],
    ),
    (
        "array, column 0",
        &[
            "matrix.array.psum_in_0",
            "matrix.array.pe_0.store_weight",
            "matrix.array.pe_0.product_p",
            "matrix.array.pe_0.psum",
            "matrix.array.pe_{column}.psum_out",
            "matrix.array.psum_out_0",
        ],
    ),
    (
        "accumulators",
        &["matrix.columns.acc_{row}_write_enable", "matrix.columns.acc_{row}_read_data", "matrix.columns.sum_{row}"],
    ),
    (
        "vector engine",
        &[
            "vector_busy",
            "vector_stall_wait",
            "vector_stall_mem",
            "vector_read_pc",
            "vector_write_pc",
            "vector.execute_op",
            "vector.lane_0_single",
            "vector_w_req_0",
            "vector_w_addr_0",
            "vector_wdata_0",
        ],
    ),
    (
        "flags and traps",
        &[
            "matrix_flag_set",
            "matrix_flag_pc",
            "matrix_flag_addr",
            "vector_flag_set",
            "vector_flag_pc",
            "vector_flag_addr",
            "control.registers.sticky_q",
            "matrix_trap",
            "vector_trap",
            "mem_trap",
        ],
    ),
];

/// A group's title, and the whole names of its signals, for an array of `lanes`.
pub fn groups(lanes: usize) -> Vec<(&'static str, Vec<String>)> {
    let expand = |pattern: &str| -> Vec<String> {
        let pattern = format!("{TOP}.{pattern}");
        if pattern.contains("{row}") {
            (0..lanes).map(|j| pattern.replace("{row}", &j.to_string())).collect()
        } else if pattern.contains("{column}") {
            (0..lanes).map(|i| pattern.replace("{column}", &(i * lanes).to_string())).collect()
        } else {
            vec![pattern]
        }
    };
    GROUPS.iter().map(|(title, patterns)| (*title, patterns.iter().flat_map(|p| expand(p)).collect())).collect()
}

/// Writes both save files beside a trace. Signals that the trace lacks are left out.
pub(super) fn write(path: &Path) -> Result<()> {
    let wave = Wave::open(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut gtkw = format!("[*] gtkwave {name} {}\n[dumpfile] \"{name}\"\n[signals_width] 260\n", with(path, "gtkw"));
    let mut sucl = String::new();
    writeln!(sucl, "# surfer {name} --command-file {}", with(path, "sucl")).expect("text");
    for (title, signals) in groups(wave.lanes()) {
        let _ = write!(gtkw, "@800200\n-{title}\n");
        let _ = writeln!(sucl, "divider_add {title}");
        for signal in signals {
            match wave.width(&signal) {
                None => continue,
                Some(1) => drop(writeln!(gtkw, "@28\n{signal}")),
                Some(width) => drop(writeln!(gtkw, "@22\n{signal}[{}:0]", width - 1)),
            }
            let _ = writeln!(sucl, "variable_add {signal}");
        }
        let _ = write!(gtkw, "@1000200\n-{title}\n");
    }
    sucl += "zoom_fit\n";
    for (extension, text) in [("gtkw", gtkw), ("sucl", sucl)] {
        let to = path.with_extension(extension);
        std::fs::write(&to, text).map_err(Error::io("write", &to))?;
    }
    Ok(())
}

fn with(path: &Path, extension: &str) -> String {
    path.with_extension(extension).file_name().unwrap_or_default().to_string_lossy().into_owned()
}
