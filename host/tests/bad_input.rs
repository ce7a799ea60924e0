//! Bad input of every kind, as a table: each gets an error of its own with a help line and the exit code that `docs/errors.md`
//! gives it, in time, and leaves every folder as it was. `tests/cli.rs` has more of them for flags and products.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use systole::npy::{Array, Elements};

/// A program that runs longer hangs. Far above what any case takes, so that a busy machine fails nothing.
const LIMIT: Duration = Duration::from_secs(120);

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    took: Duration,
}

/// Runs the program with its standard input closed; kills it when it hangs.
fn systole(folder: &Path, args: &[String]) -> Ran {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_systole"))
        .current_dir(folder)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // what these cases print fits into a pipe
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if started.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{args:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let took = started.elapsed();
    let out = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code, stdout: text(out.stdout), stderr: text(out.stderr), took }
}

/// Every file below a folder with its contents.
fn contents(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            out.push((path.clone(), None));
            out.extend(contents(&path));
        } else {
            out.push((path.clone(), Some(std::fs::read(&path).unwrap())));
        }
    }
    out.sort();
    out
}

fn idx(extents: &[u32], data: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, 8, extents.len() as u8];
    out.extend(extents.iter().flat_map(|n| n.to_be_bytes()));
    out.extend(data);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

/// What a case runs, its exit code, and a word of its message.
struct Case {
    args: Vec<String>,
    code: i32,
    word: String,
}

/// Files for the cases, and the cases that need files.
fn files(dir: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    let images = idx(&[10, 8, 8], &[7; 640]);
    let labels = idx(&[10], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let mut folder = |name: &str, images: &[u8], labels: &[u8], code: i32, word: &str| {
        let path = dir.join(name);
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("t10k-images-idx3-ubyte"), images).unwrap();
        std::fs::write(path.join("t10k-labels-idx1-ubyte"), labels).unwrap();
        cases.push(case(&["train", "--device", "model", "--data", name], code, word));
    };
    // every field of the header, cut off at its start and in its middle
    for (at, word) in [
        (0, "the file holds 0"),
        (1, "the file holds 1"),
        (2, "the file holds 2"),
        (3, "the file holds 3"),
        (4, "extent 1 of 3"),
        (8, "extent 2 of 3"),
        (12, "extent 3 of 3"),
        (16, "the file holds 0"),
        (300, "the file holds 284"),
    ] {
        folder(&format!("images-cut-at-{at}"), &images[..at], &labels, 3, word);
    }
    for (at, word) in [(2, "the file holds 2"), (6, "extent 1 of 1"), (15, "the file holds 7")] {
        folder(&format!("labels-cut-at-{at}"), &images, &labels[..at], 3, word);
    }
    folder("magic", b"P5\n8 8\n255\n", &labels, 3, "does not start as IDX");
    let mut floats = images.clone();
    floats[2] = 0x0d;
    folder("floats", &floats, &labels, 3, "0x0d");
    folder("trailing", &[&images[..], &[0; 4]].concat(), &labels, 3, "4 bytes follow");
    folder("counts", &images, &idx(&[9], &[0; 9]), 3, "9 labels");
    folder("flat", &idx(&[640], &[0; 640]), &labels, 3, "2 dimensions");
    folder("huge", &idx(&[u32::MAX, u32::MAX, u32::MAX], &[]), &labels, 3, "overflow");
    folder("label", &images, &idx(&[10], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 200]), 2, "201");
    folder("size", &idx(&[10, 9, 8], &[0; 720]), &labels, 2, "72");
    folder("few", &idx(&[3, 8, 8], &[0; 192]), &idx(&[3], &[0; 3]), 3, "too few");
    let whole = gzip(&images);
    folder("gzip-cut", &whole[..whole.len() / 2], &labels, 3, "gzip");
    let mut flipped = gzip(&(0..640u32).map(|i| (i * 97 % 251) as u8).collect::<Vec<_>>());
    let end = flipped.len() - 6;
    flipped[end] ^= 0x40;
    folder("gzip-checksum", &flipped, &labels, 3, "gzip");

    let mut file = |name: &str, bytes: &[u8], args: &[&str], code: i32, word: &str| {
        std::fs::write(dir.join(name), bytes).unwrap();
        cases.push(case(args, code, word));
    };
    let train = ["train", "--device", "model"];
    let with = |extra: &[&'static str]| -> Vec<&'static str> { [&train[..], extra].concat() };
    file("words.csv", b"1,2,0\n1,two,0\n", &with(&["--data", "words.csv"]), 3, "two");
    file("wide.csv", b"1,2,0\n1,256,0\n", &with(&["--data", "wide.csv"]), 3, "256");
    file("negative.csv", b"1,2,0\n-3,2,0\n", &with(&["--data", "negative.csv"]), 3, "-3");
    file("ragged.csv", b"1,2,0\n1,0\n", &with(&["--data", "ragged.csv"]), 3, "line 2");
    file("nothing.csv", b"", &with(&["--data", "nothing.csv"]), 3, "empty");
    file("no.npy", b"\x93NUMPX", &with(&["--data", "no.npy"]), 3, "NUMPY");
    let table = Array { shape: vec![6, 3], elements: Elements::F32(vec![0.5; 18]) }.to_bytes();
    file("floats.npy", &table, &with(&["--data", "floats.npy"]), 3, "integers are needed");
    for (i, at) in [6, 8, 9, 40].into_iter().enumerate() {
        let name = ["cut-a.npy", "cut-b.npy", "cut-c.npy", "cut-d.npy"][i];
        let word = ["version", "length", "length", "cut off"][i];
        file(name, &table[..at], &with(&["--data", name]), 3, word);
    }
    file("net.txt", b"mlp:64-many-10", &with(&["--model", "net.txt"]), 2, "many");
    file("poem.txt", b"roses are red\n", &with(&["--data", "poem.txt"]), 2, "alphabet = \"\\n adeors\"");
    let text_model = "name = \"t\"\ninput = [4]\nalphabet = \"ab\"\nloss = \"softmax_cross_entropy\"\n[[layer]]\n\
                      op = \"embedding\"\nvocabulary = 2\nfeatures = 3\n[[layer]]\nop = \"dense\"\nfeatures = 2\n";
    file("chars.toml", text_model.as_bytes(), &with(&["chars.toml", "--data", "digits"]), 2, "each of 4 steps");
    file("latin.txt", b"caf\xe9", &with(&["chars.toml", "--data", "latin.txt"]), 3, "UTF-8");
    file("abc.txt", b"ab\nabc", &with(&["chars.toml", "--data", "abc.txt"]), 3, "line 1, column 3");
    file("short.txt", b"abab", &with(&["chars.toml", "--data", "short.txt"]), 3, "81 are the least");
    let norm = text_model.replace("embedding", "batch_norm2d");
    file(
        "norm.toml",
        norm.as_bytes(),
        &with(&["norm.toml"]),
        3,
        "line 6, column 6: unknown operation `batch_norm2d`: use batch_norm",
    );
    file("blocked", b"a file where a folder should be", &with(&["--runs", "blocked"]), 3, "blocked");
    cases
}

fn case(args: &[&str], code: i32, word: &str) -> Case {
    Case { args: args.iter().map(|s| s.to_string()).collect(), code, word: word.into() }
}

/// A run that is over, and what may have become of it.
fn checkpoints(dir: &Path) -> Vec<Case> {
    let ran = systole(dir, &["train", "--device", "model", "--epochs", "1", "--name", "good"].map(String::from));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let good = std::fs::read(dir.join("runs/good/checkpoint.safetensors")).unwrap();
    let save = |name: &str, bytes: &[u8]| std::fs::write(dir.join(name), bytes).unwrap();
    let mut edited = good.clone();
    let last = edited.len() - 3;
    edited[last] ^= 1;
    save("edited.safetensors", &edited);
    save("short.safetensors", &good[..good.len() / 2]);
    save("tiny.safetensors", &good[..5]);
    save("text.safetensors", b"these are no weights at all");
    std::fs::create_dir(dir.join("dull")).unwrap();
    std::fs::create_dir(dir.join("broken")).unwrap();
    save("broken/metrics.jsonl", b"{\"event\":\"step\",\"step\":1}\n{\"event\":\n");
    vec![
        case(&["eval", "edited.safetensors", "--device", "model"], 3, "SHA-256"),
        case(&["export", "short.safetensors", "--out", "w.safetensors"], 3, "truncated"),
        case(&["inspect", "tiny.safetensors", "--device", "model"], 3, "truncated"),
        case(&["train", "--device", "model", "--resume", "text.safetensors"], 3, "truncated"),
        case(&["eval", "no-such-run", "--device", "model"], 3, "no-such-run"),
        case(&["train", "--device", "model", "--epochs", "2", "--lr", "0.5", "--resume", "good"], 2, "--lr"),
        case(&["train", "--device", "model", "--model", "mlp:64-8-10", "--resume", "good"], 2, "--model"),
        case(&["inspect", "good", "--device", "model", "--batches", "0"], 2, "--batches"),
        case(&["inspect", "good", "--device", "model", "--tolerance", "1"], 2, "--tolerance"),
        case(&["report", "dull"], 3, "metrics.jsonl"),
        case(&["report", "broken"], 3, "line 2"),
        case(&["export", "good", "--out", "no/folder/w.safetensors"], 3, "w.safetensors"),
    ]
}

fn flags() -> Vec<Case> {
    let train = |extra: &[&str]| case(&[&["train", "--device", "model"], extra].concat(), 2, extra[0]);
    vec![
        train(&["--loss-scale", "1000"]),
        train(&["--loss-scale", "0"]),
        train(&["--loss-scale-init", "33554432"]),
        train(&["--lr", "0"]),
        train(&["--lr", "-1"]),
        train(&["--lr", "inf"]),
        train(&["--momentum", "1.5"]),
        train(&["--batch", "0"]),
        train(&["--batch", "-4"]),
        train(&["--epochs", "0"]),
        train(&["--lanes", "5"]),
        train(&["--checkpoint-every", "0"]),
        case(&["train", "--device", "model", "--model", "mlp:64-0-10"], 2, "mlp:64-0-10"),
        case(&["train", "--device", "model", "--model", "mlp:64-5000-5000-10"], 4, "needs"),
        case(&["train", "--device", "model", "--data", "/no/such/folder"], 3, "/no/such/folder"),
        case(&["train", "--device", "model", "--data", "mnist"], 2, "mnist-sample"),
        case(&["train", "--device", "model", "--runs", "/proc/none"], 3, "/proc/none"),
        case(&["train", "--device", "/dev/tty-that-is-not"], 2, "there is no device"),
        case(&["train", "--device", "tcp:127.0.0.1:1"], 2, "127.0.0.1:1"),
    ]
}

/// Ports: one that says nothing, one that says what a wrong rate makes of an answer, one that somebody else has open.
#[cfg(unix)]
fn ports() -> (Vec<Case>, Vec<serialport::TTYPort>) {
    use serialport::{SerialPort as _, TTYPort};
    let pair = || {
        let (master, slave) = TTYPort::pair().unwrap();
        (master, slave.name().unwrap(), slave)
    };
    let (silent, silent_name, slave) = pair();
    drop(slave);
    let (mut noisy, noisy_name, slave) = pair();
    drop(slave);
    std::thread::spawn(move || {
        noisy.set_timeout(Duration::from_millis(20)).unwrap();
        let mut chunk = [0; 256];
        loop {
            match noisy.read(&mut chunk) {
                Ok(n) => drop(noisy.write_all(&chunk[..n].iter().map(|b| b.rotate_left(3) | 0x80).collect::<Vec<_>>())),
                // nobody has the other end open, yet or any more
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    });
    let (busy, busy_name, slave) = pair();
    drop(slave);
    // opened as any program opens a port: locked
    let busy_slave = serialport::new(&busy_name, 115_200).open_native().unwrap();
    let open = |port: &str, code, word| case(&["train", "--device", port], code, word);
    let cases = vec![
        open(&silent_name, 5, "0 bytes"),
        open(&noisy_name, 5, "--baud"),
        open(&busy_name, 3, "in use by another"),
    ];
    (cases, vec![silent, busy, busy_slave])
}

#[test]
fn each_gets_an_error_of_its_own_in_time_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut cases = checkpoints(dir.path());
    cases.extend(files(dir.path()));
    cases.extend(flags());
    #[cfg(unix)]
    let _open = {
        let (more, open) = ports();
        cases.extend(more);
        open
    };
    assert!(cases.len() >= 30);
    let before = contents(dir.path());
    let mut seen: HashMap<String, Vec<String>> = HashMap::new();
    let mut slowest = (Duration::ZERO, Vec::new());
    let mut wrong = Vec::new();
    for Case { args, code, word } in cases.iter() {
        let ran = systole(dir.path(), args);
        let text = &ran.stderr;
        let message = text.lines().find(|l| l.starts_with("error")).unwrap_or_default().to_string();
        let other = seen.insert(message.clone(), args.clone());
        for (good, what) in [
            (ran.code == Some(*code), format!("exit code {:?}, not {code}", ran.code)),
            (text.contains(word.as_str()), format!("{word:?} is not in it")),
            (text.contains("help"), "no help".into()),
            (!text.contains("panicked"), "a panic".into()),
            (ran.stdout.is_empty(), format!("stdout: {}", ran.stdout)),
            (contents(dir.path()) == before, "something was left behind".into()),
            (other.is_none(), format!("{other:?} says the same")),
        ] {
            if !good {
                wrong.push(format!("{args:?}: {what}: {text}"));
            }
        }
        if ran.took > slowest.0 {
            slowest = (ran.took, args.clone());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} cases, the slowest {:.1} s: {:?}", cases.len(), slowest.0.as_secs_f64(), slowest.1);
}
