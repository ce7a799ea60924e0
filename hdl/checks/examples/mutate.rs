use systole_checks::mutation::*;
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let most = a.get(1).map_or(usize::MAX, |m| m.parse().unwrap());
    let unit = Unit::named(&a[0]).unwrap();
    let threads = std::env::var("THREADS").map_or(1, |t| t.parse().unwrap());
    let prove = std::env::var("NOPROVE").is_err();
    let r = run(unit, &Plan { most, prove, threads, ..Plan::default() }, &|t, i, n| {
        let m = &t.mutant;
        println!(
            "{i}/{n} #{} {} {} {} {}[{}] {} {} {} -> {:?}",
            m.number, m.module, m.mode, m.cell, m.port, m.port_bit, m.ctrl_bit, m.wire, m.source, t.fate
        );
    });
    match r {
        Ok(r) => println!("{:?} {:.1} s {}", r.counts(), r.seconds, r.design),
        Err(e) => println!("ERROR {e}"),
    }
}
