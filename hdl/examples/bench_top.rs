fn main() {
    let l = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(3);
    print!("{}", systole_hdl::bench_top::pe(l));
}
