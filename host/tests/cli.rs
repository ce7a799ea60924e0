//! The program from outside: what scripts rely on, and what it says to bad input.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use systole::npy::{Array, Elements};

fn systole(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_systole")).current_dir(folder).args(args).output().unwrap()
}

fn json(out: &Output) -> Value {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "one object and nothing else: {text}");
    serde_json::from_str(&text).unwrap()
}

fn keys(v: &Value) -> Vec<&str> {
    v.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn train_prints_one_object_and_keeps_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["train", "--device", "model", "--seed", "7", "--epochs", "2", "--json", "--non-interactive"];
    let (first, second) = (json(&systole(dir.path(), &args)), json(&systole(dir.path(), &args)));
    let mut expected = vec![
        "device",
        "model",
        "seed",
        "epochs",
        "steps",
        "skipped",
        "final_loss",
        "train_accuracy",
        "test_accuracy",
        "loss_scale",
        "weights_sha256",
        "cycles",
        "macs",
        "array_utilization",
        "sim_khz",
        "run_dir",
    ];
    expected.sort();
    let mut found = keys(&first);
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(first["steps"], 90);
    assert_eq!(first["loss_scale"], 65536.0);
    assert!(first["cycles"].is_null() && first["sim_khz"].is_null() && first["array_utilization"].is_null());
    assert!(first["test_accuracy"].as_f64().unwrap() > 0.8);
    assert_eq!(first["weights_sha256"], second["weights_sha256"]);
    assert_ne!(first["run_dir"], second["run_dir"]);

    let run = dir.path().join(first["run_dir"].as_str().unwrap());
    let csv = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    assert_eq!(csv.lines().count(), 91);
    let jsonl = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(jsonl.lines().filter(|l| l.contains("\"event\":\"epoch\"")).count(), 2);
    let file = std::fs::read(run.join("checkpoint.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(tensors.tensor("0.weight").unwrap().shape(), [32, 64]);
    assert_eq!(tensors.tensor("2.bias").unwrap().shape(), [10]);
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    for name in ["0.weight", "0.bias", "2.weight", "2.bias"] {
        hash.update(tensors.tensor(name).unwrap().data());
    }
    let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(first["weights_sha256"], hex);
}

#[test]
fn overflow_backs_off_and_then_learns() {
    let dir = tempfile::tempdir().unwrap();
    let args =
        ["train", "--device", "model", "--seed", "7", "--epochs", "3", "--loss-scale-init", "16777216", "--json"];
    let r = json(&systole(dir.path(), &args));
    assert!(r["skipped"].as_u64().unwrap() > 0);
    assert!(r["loss_scale"].as_f64().unwrap() < 16777216.0);
    assert!(r["test_accuracy"].as_f64().unwrap() > 0.8);
}

#[test]
fn gemm_equals_the_reference_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let (m, k, n) = (5, 19, 7);
    let value = |i: usize| half::f16::from_f32(((i * 2654435761) % 1009) as f32 / 97.0 - 5.0);
    let matrix = |rows: usize, columns: usize, salt: usize| -> Vec<half::f16> {
        (0..rows * columns).map(|i| value(i + salt)).collect()
    };
    let (a, b, bias) = (matrix(m, k, 1), matrix(k, n, 999), matrix(1, n, 77));
    let save = |name: &str, shape: [usize; 2], v: &[half::f16]| {
        let array = Array { shape: shape.to_vec(), elements: Elements::F16(v.iter().map(|x| x.to_bits()).collect()) };
        array.save(&dir.path().join(name)).unwrap();
    };
    let transpose = |rows: usize, columns: usize, v: &[half::f16]| -> Vec<half::f16> {
        (0..columns).flat_map(|c| (0..rows).map(move |r| (r, c))).map(|(r, c)| v[r * columns + c]).collect()
    };
    save("a.npy", [m, k], &a);
    save("at.npy", [k, m], &transpose(m, k, &a));
    save("b.npy", [k, n], &b);
    save("bt.npy", [n, k], &transpose(k, n, &b));
    save("bias.npy", [1, n], &bias);
    let reference = |with_bias: bool, relu: bool| -> Vec<f32> {
        (0..m * n)
            .map(|i| {
                let (r, c) = (i / n, i % n);
                let start = if with_bias { bias[c].to_f32() } else { 0.0 };
                let sum = (0..k).fold(start, |acc, j| acc + a[r * k + j].to_f32() * b[j * n + c].to_f32());
                if relu && sum < 0.0 { 0.0 } else { sum }
            })
            .collect()
    };
    let common = ["gemm", "--device", "model", "--out", "c.npy", "--json"];
    for (extra, with_bias, relu) in [
        (&["--a", "a.npy", "--b", "b.npy"][..], false, false),
        (&["--a", "at.npy", "--transpose-a", "--b", "b.npy", "--bias", "bias.npy"], true, false),
        (&["--a", "a.npy", "--b", "bt.npy", "--transpose-b", "--relu"], false, true),
        (
            &[
                "--a",
                "at.npy",
                "--transpose-a",
                "--b",
                "bt.npy",
                "--transpose-b",
                "--bias",
                "bias.npy",
                "--relu",
                "--f16",
            ],
            true,
            true,
        ),
    ] {
        let r = json(&systole(dir.path(), &[&common[..], extra].concat()));
        assert_eq!((&r["m"], &r["k"], &r["n"], &r["macs"]), (&m.into(), &k.into(), &n.into(), &(m * k * n).into()));
        let mut found = keys(&r);
        found.sort();
        assert_eq!(found, ["cycles", "device", "k", "m", "macs", "n", "utilization"]);
        let c = Array::load(&dir.path().join("c.npy")).unwrap();
        assert_eq!(c.shape, [m, n]);
        let expected = reference(with_bias, relu);
        match c.elements {
            Elements::F32(v) => assert_eq!(bits(&v), bits(&expected), "{extra:?}"),
            Elements::F16(v) => {
                assert_eq!(
                    v,
                    expected.iter().map(|&x| half::f16::from_f32(x).to_bits()).collect::<Vec<_>>(),
                    "{extra:?}"
                )
            }
        }
    }
}

fn bits(v: &[f32]) -> Vec<u32> {
    v.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn bad_input_gets_an_error_of_its_own_and_leaves_nothing_behind() {
    let gan = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/gan-digits.toml");
    let dir = tempfile::tempdir().unwrap();
    let save = |name: &str, shape: Vec<usize>| {
        let n = shape.iter().product();
        Array { shape, elements: Elements::F16(vec![0x3c00; n]) }.save(&dir.path().join(name)).unwrap();
    };
    save("m34.npy", vec![3, 4]);
    save("m45.npy", vec![4, 5]);
    save("v5.npy", vec![5]);
    save("v6.npy", vec![6]);
    save("empty.npy", vec![0, 4]);
    save("wide.npy", vec![8, 32000]);
    save("tall.npy", vec![32000, 8]);
    std::fs::write(dir.path().join("text.npy"), "no array").unwrap();
    std::fs::write(dir.path().join("blocked"), "a file where a folder should be").unwrap();
    let mut cut = std::fs::read(dir.path().join("m34.npy")).unwrap();
    cut.truncate(cut.len() - 3);
    std::fs::write(dir.path().join("cut.npy"), cut).unwrap();
    std::fs::write(dir.path().join("bad.csv"), "1,2,3\n1,2\n").unwrap();
    let before = listing(dir.path());

    let train = |extra: &[&'static str]| [&["train", "--device", "model", "--epochs", "1"], extra].concat();
    let gemm = |a, b, extra: &[&'static str]| [&["gemm", "--device", "model", "--a", a, "--b", b], extra].concat();
    let out = &["--out", "c.npy"][..];
    let table: Vec<(Vec<&str>, i32, &str)> = vec![
        (vec!["train", "--device", "nonsense"], 2, "there is no device \"nonsense\""),
        (vec!["train", "--device", "/dev/no-such-port"], 2, "there is no device"),
        (vec!["train", "--device", "/dev/null"], 2, "/dev/null"),
        (train(&["--model", "cnn:3"]), 2, "cnn:3"),
        (train(&["--optimizer", "lion"]), 2, "lion"),
        (train(&["--optimizer", "adam", "--momentum", "0.9"]), 2, "--momentum"),
        (train(&["--optimizer", "adagrad", "--nesterov"]), 2, "--nesterov"),
        (train(&["--optimizer", "adam", "--dampening", "0.1"]), 2, "--dampening"),
        (train(&["--betas", "0.9,0.99"]), 2, "--betas"),
        (train(&["--optimizer", "adam", "--betas", "0.9"]), 2, "two numbers"),
        (train(&["--optimizer", "adam", "--betas", "0.9,1"]), 2, "below 1"),
        (train(&["--eps", "1e-8"]), 2, "--eps"),
        (train(&["--optimizer", "adam", "--eps", "0"]), 2, "1e-30"),
        (train(&["--nesterov", "--momentum", "0"]), 2, "--momentum is 0"),
        (train(&["--nesterov", "--dampening", "0.1"]), 2, "Nesterov"),
        (train(&["--dampening", "0.1", "--momentum", "0"]), 2, "dampens the momentum"),
        (train(&["--weight-decay", "-1"]), 2, "at least 0"),
        (train(&["--weight-decay", "30", "--decay", "decoupled"]), 2, "below 1"),
        (train(&["--decay", "l2"]), 2, "no --weight-decay"),
        (train(&["--optimizer", "adamw", "--weight-decay", "0.1", "--decay", "l2"]), 2, "adam takes l2"),
        (train(&["--clip-norm", "1", "--clip-value", "1"]), 2, "choose one"),
        (train(&["--clip-norm", "0"]), 2, "--clip-norm"),
        (train(&["--clip-value", "NaN"]), 2, "--clip-value"),
        (train(&["--accumulate", "0"]), 2, "--accumulate"),
        (train(&["--ema", "1"]), 2, "--ema"),
        (train(&["--schedule", "linear"]), 2, "step:UPDATES:FACTOR"),
        (train(&["--schedule-steps", "9"]), 2, "cosine"),
        (train(&["--schedule", "cosine", "--schedule-steps", "9", "--warmup", "9"]), 2, "--warmup"),
        (train(&["--loss-scale", "1024", "--loss-scale-init", "8"]), 2, "--loss-scale-init"),
        (train(&["--loss-scale", "none", "--growth-interval", "8"]), 2, "--growth-interval"),
        (train(&["--loss-scale", "none", "--hysteresis", "2"]), 2, "--hysteresis"),
        (train(&["--growth-factor", "3"]), 2, "--growth-factor"),
        (train(&["--growth-factor", "1"]), 2, "power of two from 2"),
        (train(&["--backoff-factor", "2"]), 2, "--backoff-factor"),
        (train(&["--scale-floor", "1024", "--scale-cap", "512"]), 2, "--scale-cap is 512"),
        (train(&["--scale-cap", "512"]), 2, "between --scale-floor"),
        (train(&["--scale-cap", "33554432"]), 2, "--scale-cap"),
        (train(&["--hysteresis", "0"]), 2, "--hysteresis"),
        (train(&["--hysteresis-refill", "growth"]), 2, "nothing to refill"),
        (train(&["--max-skips", "0"]), 2, "--max-skips"),
        (train(&["--model", "mlp:64"]), 2, "mlp:64"),
        (train(&["--model", "mlp:64-0-10"]), 2, "mlp:64-0-10"),
        (train(&["--model", "mlp:64--10"]), 2, "mlp:64--10"),
        (train(&["--model", "mlp:63-10"]), 2, "63 inputs"),
        (train(&["--model", "mlp:64-9"]), 2, "9 classes"),
        (train(&["--model", gan, "--lr", "0.1"]), 2, "an optimizer of its own"),
        (train(&["--model", gan, "--optimizer", "adamw"]), 2, "--optimizer"),
        (train(&["--model", gan, "--accumulate", "2"]), 2, "--accumulate"),
        (train(&["--model", gan, "--batch", "256"]), 4, "needs"),
        (train(&["--model", "mlp:64-4096-4096-10"]), 4, "needs"),
        (train(&["--batch", "0"]), 2, "--batch"),
        (train(&["--batch", "-1"]), 2, "-1"),
        (train(&["--batch", "4000"]), 4, "needs"),
        (train(&["--epochs", "0"]), 2, "--epochs"),
        (train(&["--lr", "0"]), 2, "--lr"),
        (train(&["--lr", "-0.1"]), 2, "--lr"),
        (train(&["--lr", "NaN"]), 2, "--lr"),
        (train(&["--momentum", "1"]), 2, "--momentum"),
        (train(&["--momentum", "-0.5"]), 2, "--momentum"),
        (train(&["--loss-scale", "1000"]), 2, "power of two"),
        (train(&["--loss-scale", "-1024"]), 2, "power of two"),
        (train(&["--loss-scale-init", "3"]), 2, "power of two"),
        (train(&["--growth-interval", "0"]), 2, "--growth-interval"),
        (train(&["--lanes", "3"]), 2, "--lanes"),
        (train(&["--data", "nowhere.csv"]), 3, "nowhere.csv"),
        (train(&["--data", "bad.csv"]), 3, "line 2"),
        (train(&["--runs", "blocked"]), 3, "blocked"),
        (train(&["--name", "../x"]), 2, "--name"),
        (train(&["--wrong"]), 2, "--wrong"),
        (gemm("none.npy", "m45.npy", out), 3, "none.npy"),
        (gemm("text.npy", "m45.npy", out), 3, "NUMPY"),
        (gemm("cut.npy", "m45.npy", out), 3, "24 bytes"),
        (gemm("v5.npy", "m45.npy", out), 3, "2 dimensions"),
        (gemm("empty.npy", "m45.npy", out), 3, "0×4"),
        (gemm("m34.npy", "m34.npy", out), 3, "reductions 4 and 3"),
        (gemm("m34.npy", "m45.npy", &["--bias", "v6.npy", "--out", "c.npy"]), 3, "5 columns"),
        (gemm("m34.npy", "m45.npy", &["--out", "no/such/folder/c.npy"]), 3, "c.npy"),
        (gemm("wide.npy", "tall.npy", out), 4, "does not fit"),
    ];
    for (args, code, word) in table {
        let got = systole(dir.path(), &args);
        let text = String::from_utf8_lossy(&got.stderr);
        assert_eq!(got.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(word), "{args:?}: {text}");
        assert!(text.contains("help"), "{args:?}: {text}");
        assert!(got.stdout.is_empty(), "{args:?}: stdout");
        assert_eq!(listing(dir.path()), before, "{args:?} left something behind");
    }
}

fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_systole"))
        .current_dir(dir.path())
        .args(["train", "--device", "model", "--epochs", "100000", "--name", "r"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let checkpoint = dir.path().join("runs/r/checkpoint.safetensors");
    for _ in 0..600 {
        if checkpoint.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let out = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(130), "{text}");
    assert!(text.contains("interrupted") && text.contains("runs/r"), "{text}");
    assert!(safetensors::SafeTensors::deserialize(&std::fs::read(&checkpoint).unwrap()).is_ok());
}

#[cfg(unix)]
#[test]
fn closed_standard_streams_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let train = format!("'{}' train --device model --epochs 1 --json", env!("CARGO_BIN_EXE_systole"));
    let shell = |line: &str| {
        Command::new("sh").current_dir(dir.path()).args(["-c", &format!("{train} {line}")]).output().unwrap()
    };
    assert_eq!(json(&shell("<&-"))["steps"], 45);
    for line in [">&-", "| true", "2>&-", "<&- 2>&-"] {
        let out = shell(line);
        assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(!String::from_utf8_lossy(&out.stderr).contains("panicked"), "{line}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("runs")).unwrap().count(), 5);
}

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let out = systole(Path::new("."), &["completions", shell]);
        let script = String::from_utf8(out.stdout).unwrap();
        for command in ["train", "gemm", "devices", "completions"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    assert_eq!(systole(Path::new("."), &["completions", "dos"]).status.code(), Some(2));
}

#[test]
fn inspect_says_what_the_gradients_are_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    json(&systole(dir.path(), &["train", "--device", "model", "--epochs", "2", "--name", "r", "--json"]));
    let checkpoint = dir.path().join("runs/r/checkpoint.safetensors");
    let before = std::fs::read(&checkpoint).unwrap();
    let run = |extra: &[&str]| {
        json(&systole(
            dir.path(),
            &[&["inspect", "r", "--device", "model", "--json", "--batches", "8"], extra].concat(),
        ))
    };
    let r = run(&["--svg", "pictures"]);
    let number = |key: &str| r[key].as_f64().unwrap();
    assert_eq!(
        (&r["batches"], &r["weights"]["count"], &r["gradients"]["count"]),
        (&8.into(), &2410.into(), &(8 * 2410).into())
    );
    let (smallest, largest) = (number("smallest_safe_scale"), number("largest_safe_scale"));
    assert!(1.0 <= smallest && smallest <= largest && largest <= f64::from(1 << 24), "{smallest} {largest}");
    // no product of a gradient and the largest safe scale overflows; with the exponents at hand, that is easily seen
    let bins = r["gradients"]["exponents"]["bins"].as_object().unwrap();
    let top = bins.keys().map(|k| k.parse::<i32>().unwrap()).max().unwrap();
    assert!(f64::from(top) + largest.log2() < 16.0);
    let lost: Vec<f64> = r["lost_at"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert!(lost.is_sorted_by(|a, b| a >= b) && lost[lost.len() - 1] == 0.0, "{lost:?}");
    assert!(dir.path().join("pictures/gradients.svg").exists());
    // a scale that it calls safe trains without a skip, and one 16 times as large does not, or not at all
    let train = |scale: f64| {
        let scale = format!("{scale}");
        systole(dir.path(), &["train", "--device", "model", "--epochs", "2", "--loss-scale", &scale, "--json"])
    };
    assert_eq!(json(&train(smallest))["skipped"], 0);
    if largest * 16.0 <= f64::from(1 << 24) {
        let out = train(largest * 16.0);
        assert!(out.status.code() == Some(6) || json(&out)["skipped"].as_u64().unwrap() > 0);
    }
    // a looser tolerance needs no larger a scale
    assert!(run(&["--tolerance", "0.2"])["smallest_safe_scale"].as_f64().unwrap() <= smallest);
    assert_eq!(std::fs::read(&checkpoint).unwrap(), before);
}

#[test]
fn eval_finds_the_data_again_from_another_folder() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..40).map(|i| format!("{},{},{}\n", i % 7, i % 5, i % 2)).collect();
    std::fs::write(dir.path().join("d.csv"), rows).unwrap();
    let args = [
        "train",
        "--device",
        "model",
        "--data",
        "d.csv",
        "--model",
        "mlp:2-4-2",
        "--epochs",
        "1",
        "--name",
        "r",
        "--json",
    ];
    let trained = json(&systole(dir.path(), &args));
    let evaluated =
        json(&systole(&dir.path().join("runs"), &["eval", "r/checkpoint.safetensors", "--device", "model", "--json"]));
    assert_eq!(trained["test_accuracy"], evaluated["test_accuracy"]);
    let again = json(&systole(dir.path(), &["report", "r", "--json"]));
    assert_eq!(again["report"], "runs/r/report.html");
}
