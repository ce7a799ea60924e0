//! Models as TOML files: data set, settings of the training, layers, loss. `models/*.toml` are examples; `docs/models.md`
//! describes the format.

mod adversary;

use std::collections::HashMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use super::{Graph, GraphError, Model, NodeId, Op, Regression, Window};
use adversary::{Adversary, gan};

/// Settings of a training that a model file may hold; flags of the command line go before them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Data set.
    pub data: Option<String>,
    /// Passes over the training rows.
    pub epochs: Option<u32>,
    /// Rows per step.
    pub batch: Option<u32>,
    /// `sgd`, `adam`, `adamw` or `adagrad`.
    pub optimizer: Option<String>,
    /// Learning rate.
    pub lr: Option<f32>,
    /// Momentum.
    pub momentum: Option<f32>,
    /// `none`, `dynamic` or a power of two.
    pub loss_scale: Option<String>,
    /// Seed.
    pub seed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    input: Spanned<Vec<usize>>,
    loss: Option<Spanned<String>>,
    loss_weight: Option<Spanned<f32>>,
    target: Option<Spanned<usize>>,
    latent: Option<Spanned<usize>>,
    alphabet: Option<Spanned<String>>,
    #[serde(default = "no_settings")]
    train: Spanned<Settings>,
    #[serde(default)]
    layer: Vec<Layer>,
    generator: Option<Spanned<Adversary>>,
    discriminator: Option<Spanned<Adversary>>,
}

fn no_settings() -> Spanned<Settings> {
    Spanned::new(0..0, Settings::default())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    op: Spanned<String>,
    name: Option<String>,
    inputs: Option<Spanned<Vec<String>>>,
    features: Option<Spanned<usize>>,
    vocabulary: Option<Spanned<usize>>,
    channels: Option<Spanned<usize>>,
    hidden: Option<Spanned<usize>>,
    kernel: Option<Spanned<usize>>,
    stride: Option<Spanned<usize>>,
    padding: Option<Spanned<usize>>,
    index: Option<Spanned<usize>>,
    start: Option<Spanned<usize>>,
    end: Option<Spanned<usize>>,
    steps: Option<Spanned<usize>>,
    shape: Option<Spanned<Vec<usize>>>,
    slope: Option<Spanned<f32>>,
    p: Option<Spanned<f32>>,
}

/// Every operation that a layer may name.
const OPS: &str = "dense, relu, leaky_relu, tanh, sigmoid, dropout, conv2d, conv_transpose2d, max_pool2d, avg_pool2d, layer_norm, batch_norm, \
                   embedding, flatten, reshape, select, last, slice, repeat, concat, add, gru, lstm";

/// Every optimizer that `[train]` may name.
const OPTIMIZERS: &str = "sgd, adam, adamw, adagrad";

/// What to write instead of an operation that there is none of.
fn instead(op: &str) -> String {
    let hint = match op {
        "linear" | "fc" => "use dense",
        "conv" | "conv1d" | "conv3d" => "use conv2d",
        "maxpool" | "max_pool" => "use max_pool2d",
        "avgpool" | "avg_pool" | "global_avg_pool" | "mean" => "use avg_pool2d, with the image's height as its kernel",
        "batch_norm1d" | "batch_norm2d" | "batchnorm" => "use batch_norm, on vectors or images",
        "instance_norm" | "group_norm" => "use batch_norm on images, layer_norm on vectors or sequences",
        "gelu" | "silu" | "swish" | "elu" | "softplus" => "use leaky_relu or tanh",
        "softmax" | "log_softmax" => "leave it out and write loss = \"softmax_cross_entropy\", which contains it",
        "embed" | "lookup" | "one_hot" => "use embedding, which takes the input itself, tokens",
        "rnn" | "attention" | "transformer" => "use gru or lstm",
        _ => "",
    };
    let hint = if hint.is_empty() { String::new() } else { format!("{hint}; ") };
    format!("unknown operation `{op}`: {hint}there are {OPS}")
}

/// Line and column of a byte, both from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Reads a model file.
///
/// # Errors
/// What is wrong, with its line and column.
pub fn parse(text: &str) -> Result<(Model, Settings), String> {
    let fail = |span: Range<usize>, what: String| {
        let (line, column) = position(text, span.start);
        format!("line {line}, column {column}: {what}")
    };
    let file: File = toml::from_str(text)
        .map_err(|e| fail(e.span().unwrap_or(0..0), e.message().trim().replace('\n', "; ").to_string()))?;
    let name = file.name.get_ref();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(fail(file.name.span(), "a name is made of letters, digits, '-', '_' and '.'".into()));
    }
    let shape = file.input.get_ref();
    if !(1..=3).contains(&shape.len()) || shape.iter().any(|&n| n == 0 || n > 16384) {
        let what =
            "the input's shape is [features], [steps, features] or [channels, height, width], from 1 to 16384 each";
        return Err(fail(file.input.span(), what.into()));
    }
    let settings = file.train.get_ref().clone();
    if let Some(other) = settings.optimizer.as_deref().filter(|o| !OPTIMIZERS.split(", ").any(|known| known == *o)) {
        return Err(fail(file.train.span(), format!("unknown optimizer `{other}`: there are {OPTIMIZERS}")));
    }
    if let Some(alphabet) = &file.alphabet {
        check_alphabet(alphabet.get_ref()).map_err(|what| fail(alphabet.span(), what))?;
    }
    let made = match (&file.generator, &file.discriminator) {
        (None, None) => network(&file).map(|graph| (graph, None)),
        (Some(g), Some(d)) => gan(&file, g, d).map(|(graph, gan)| (graph, Some(gan))),
        (Some(one), None) => Err((one.span(), "a GAN has two networks: add [discriminator]".into())),
        (None, Some(one)) => Err((one.span(), "a GAN has two networks: add [generator]".into())),
    };
    let (graph, gan) = made.map_err(|(span, what)| fail(span, what))?;
    let (sizes, alphabet) = (Vec::new(), file.alphabet.map(Spanned::into_inner));
    Ok((Model { name: name.clone(), sizes, graph, gan, alphabet, source: Some(text.into()) }, settings))
}

/// Every character once, and no more than a byte can number.
fn check_alphabet(alphabet: &str) -> Result<(), String> {
    let all: Vec<char> = alphabet.chars().collect();
    if let Some(i) = (1..all.len()).find(|&i| all[..i].contains(&all[i])) {
        return Err(format!("`alphabet` holds {:?} twice", all[i]));
    }
    match all.len() {
        2..=256 => Ok(()),
        n => Err(format!("`alphabet` holds {n} characters; it must hold from 2 to 256")),
    }
}

/// Where a mistake is, and what.
type Mistake = (Range<usize>, String);

/// An ordinary network with its loss.
fn network(file: &File) -> Result<Graph, Mistake> {
    let Some(named) = &file.loss else {
        return Err((file.name.span(), "the file names no loss: write loss = \"softmax_cross_entropy\"".into()));
    };
    if let Some(latent) = &file.latent {
        return Err((latent.span(), "only a GAN, with [generator] and [discriminator], has a `latent`".into()));
    }
    let (mut graph, targets) = (Graph::default(), file.target.as_ref());
    let input = graph.input(file.input.get_ref());
    if let Some(n) = targets.filter(|n| !(1..=16384).contains(n.get_ref())) {
        return Err((n.span(), "`target`, numbers of a row behind the input's, must be from 1 to 16384".into()));
    }
    let behind = targets.map(|n| graph.target(*n.get_ref()));
    let last = stack(&mut graph, &file.layer, "", input)?;
    if graph.parameters.is_empty() {
        return Err((named.span(), "the model has no layer with parameters".into()));
    }
    let wrong = |e: GraphError| (named.span(), e.to_string());
    let kind = match named.get_ref().as_str() {
        "softmax_cross_entropy" => None,
        "mse" => Some(Regression::Mse),
        "smooth_l1" => Some(Regression::SmoothL1),
        "sigmoid_bce" => Some(Regression::SigmoidBce),
        other => {
            let known = "softmax_cross_entropy, and against the target or the input itself mse, smooth_l1, sigmoid_bce";
            return Err((named.span(), format!("unknown loss `{other}`: there are {known}")));
        }
    };
    let weight = file.loss_weight.as_ref().map_or(1.0, |w| *w.get_ref());
    if let Some(w) = file.loss_weight.as_ref().filter(|_| kind.is_none() || !(weight.is_normal() && weight > 0.0)) {
        return Err((w.span(), "`loss_weight` is a positive number, for mse, smooth_l1 and sigmoid_bce".into()));
    }
    if let (None, Some(n)) = (kind, targets) {
        return Err((
            n.span(),
            "softmax_cross_entropy compares with classes: `target` is for mse, smooth_l1, sigmoid_bce".into(),
        ));
    }
    match kind {
        None => graph.softmax_cross_entropy(last).map_err(wrong)?,
        Some(kind) => {
            let mut target = behind.unwrap_or(input);
            if graph.node(target).shape.len() > 1 {
                let flat = [graph.node(target).features];
                target = graph.reshape(target, &flat, "target").map_err(wrong)?;
            }
            graph.regression(kind, weight, last, target).map_err(wrong)?
        }
    };
    Ok(graph)
}

/// Adds layers one after another behind `first`, to whose value they may refer as `input`. Their nodes' names begin with
/// `prefix`.
fn stack(graph: &mut Graph, layers: &[Layer], prefix: &str, first: NodeId) -> Result<NodeId, Mistake> {
    let mut last = first;
    let mut names = HashMap::from([("input".to_string(), first)]);
    for (i, layer) in layers.iter().enumerate() {
        let name = layer.name.clone().unwrap_or_else(|| i.to_string());
        last = add(graph, layer, &format!("{prefix}{name}"), last, &names)?;
        if names.insert(name.clone(), last).is_some() {
            return Err((layer.op.span(), format!("two layers are called `{name}`")));
        }
    }
    Ok(last)
}

/// Adds one layer. Errors: where, and what.
fn add(
    g: &mut Graph,
    layer: &Layer,
    name: &str,
    last: NodeId,
    names: &HashMap<String, NodeId>,
) -> Result<NodeId, Mistake> {
    let op = layer.op.get_ref().as_str();
    let here = layer.op.span();
    let mut inputs = vec![last];
    if let Some(list) = &layer.inputs {
        let find = |n: &String| {
            names.get(n).copied().ok_or_else(|| (list.span(), format!("there is no earlier layer called `{n}`")))
        };
        inputs = list.get_ref().iter().map(find).collect::<Result<_, _>>()?;
    }
    let several = matches!(op, "concat" | "add");
    if inputs.len() < 1 + several as usize
        || (inputs.len() > 1 && op != "concat" && inputs.len() != 1 + several as usize)
    {
        let n = match op {
            "concat" => "two or more inputs",
            "add" => "two inputs",
            _ => "one input",
        };
        return Err((here, format!("`{op}` takes {n}: inputs = [\"name\", …]")));
    }
    let x = inputs[0];
    // Fields that this operation takes; others are mistakes.
    let takes: &[&str] = match op {
        "dense" => &["features"],
        "embedding" => &["vocabulary", "features"],
        "leaky_relu" => &["slope"],
        "dropout" => &["p"],
        "conv2d" | "conv_transpose2d" => &["channels", "kernel", "stride", "padding"],
        "max_pool2d" | "avg_pool2d" => &["kernel"],
        "reshape" => &["shape"],
        "select" => &["index"],
        "slice" => &["start", "end"],
        "repeat" => &["steps"],
        "gru" | "lstm" => &["hidden"],
        _ => &[],
    };
    let sizes = [
        ("features", &layer.features),
        ("vocabulary", &layer.vocabulary),
        ("channels", &layer.channels),
        ("hidden", &layer.hidden),
        ("kernel", &layer.kernel),
        ("stride", &layer.stride),
        ("padding", &layer.padding),
        ("index", &layer.index),
        ("start", &layer.start),
        ("end", &layer.end),
        ("steps", &layer.steps),
    ];
    let odd = sizes.iter().filter_map(|(n, v)| v.as_ref().map(|v| (*n, v.span())));
    let odd = odd.chain(layer.shape.as_ref().map(|v| ("shape", v.span())));
    let odd = odd.chain(layer.slope.as_ref().map(|v| ("slope", v.span())));
    let odd = odd.chain(layer.p.as_ref().map(|v| ("p", v.span())));
    if let Some((n, span)) = odd.into_iter().find(|(n, _)| !takes.contains(n)) {
        if OPS.split(", ").any(|o| o.trim() == op) {
            return Err((span, format!("`{op}` takes no `{n}`")));
        }
    }
    let size = |field: &str, default: Option<usize>| {
        let value = sizes.iter().find(|(n, _)| *n == field).and_then(|(_, v)| v.as_ref());
        match (value, default) {
            (Some(v), _)
                if (*v.get_ref() == 0 && !matches!(field, "padding" | "index" | "start")) || *v.get_ref() > 16384 =>
            {
                Err((v.span(), format!("`{field}` of `{op}` must be from 1 to 16384")))
            }
            (Some(v), _) => Ok(*v.get_ref()),
            (None, Some(d)) => Ok(d),
            (None, None) => Err((here.clone(), format!("`{op}` needs `{field}`"))),
        }
    };
    let window = || {
        let (stride, padding) = (size("stride", Some(1))?, size("padding", Some(0))?);
        Ok(Window { kernel: size("kernel", None)?, stride, padding })
    };
    let made = match op {
        "dense" => Ok(g.dense(x, size("features", None)?, name)),
        "embedding" => match size("vocabulary", None)? {
            n if n > 256 => {
                let why = "tokens are bytes: `vocabulary` of `embedding` must be from 1 to 256";
                return Err((layer.vocabulary.as_ref().map_or(here, |v| v.span()), why.into()));
            }
            n => g.embedding(x, [n, size("features", None)?], name),
        },
        "relu" => Ok(g.unary(Op::Relu, x, name)),
        "leaky_relu" => {
            let slope = layer.slope.as_ref().map_or(0.01, |s| *s.get_ref());
            Ok(g.unary(Op::LeakyRelu { slope }, x, name))
        }
        "dropout" => {
            let p = layer.p.as_ref().map_or(0.5, |p| *p.get_ref());
            if !(0.0..1.0).contains(&p) {
                let span = layer.p.as_ref().map_or(here, Spanned::span);
                return Err((
                    span,
                    "`p` of `dropout`, the share that is dropped, must be at least 0 and below 1".into(),
                ));
            }
            Ok(g.unary(Op::Dropout { p }, x, name))
        }
        "tanh" => Ok(g.unary(Op::Tanh, x, name)),
        "sigmoid" => Ok(g.unary(Op::Sigmoid, x, name)),
        "conv2d" => g.conv2d(x, size("channels", None)?, window()?, name),
        "conv_transpose2d" => g.conv_transpose2d(x, size("channels", None)?, window()?, name),
        "max_pool2d" => g.pool2d(Op::MaxPool2d { kernel: size("kernel", None)? }, x, name),
        "avg_pool2d" => g.pool2d(Op::AvgPool2d { kernel: size("kernel", None)? }, x, name),
        "layer_norm" => g.layer_norm(x, name),
        "batch_norm" => g.batch_norm(x, name),
        "flatten" => {
            let flat = [g.node(x).features];
            g.reshape(x, &flat, name)
        }
        "reshape" => match &layer.shape {
            Some(shape) => g.reshape(x, shape.get_ref(), name),
            None => return Err((here, "`reshape` needs `shape`".into())),
        },
        "select" => g.select(x, size("index", None)?, name),
        "last" => g.select(x, g.node(x).shape[0] - 1, name),
        "slice" => g.slice(x, [size("start", Some(0))?, size("end", Some(g.node(x).shape[0]))?], name),
        "repeat" => g.repeat(x, size("steps", None)?, name),
        "concat" => g.concat(&inputs, name),
        "add" => g.sum(x, inputs[1], name),
        "gru" => g.gru(x, size("hidden", None)?, name),
        "lstm" => g.lstm(x, size("hidden", None)?, name),
        other => return Err((here, instead(other))),
    };
    made.map_err(|e| (here, e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "name = \"m\"\ninput = [1, 8, 8]\nloss = \"softmax_cross_entropy\"\n";

    fn refused(rest: &str) -> String {
        parse(&format!("{HEAD}{rest}")).unwrap_err()
    }

    #[test]
    fn a_file_becomes_a_graph() {
        let text = format!(
            "{HEAD}[train]\nlr = 0.5\n[[layer]]\nop = \"conv2d\"\nchannels = 4\nkernel = 3\npadding = 1\n\
             [[layer]]\nop = \"relu\"\nname = \"act\"\n[[layer]]\nop = \"add\"\ninputs = [\"act\", \"0\"]\n\
             [[layer]]\nop = \"flatten\"\n[[layer]]\nop = \"dense\"\nfeatures = 10\n"
        );
        let (m, s) = parse(&text).unwrap();
        let shapes: Vec<_> = m.graph.nodes.iter().map(|n| n.shape.clone()).collect();
        let image = vec![4, 8, 8];
        assert_eq!(shapes, [vec![1, 8, 8], image.clone(), image.clone(), image, vec![256], vec![10], vec![1]]);
        assert_eq!(m.graph.parameters[0].name, "0.weight");
        assert_eq!(m.graph.parameters[2].shape, [10, 256]);
        assert_eq!(s.lr, Some(0.5));
    }

    #[test]
    fn a_loss_compares_with_numbers_behind_the_input() {
        let head = "name = \"m\"\ninput = [3]\n";
        let layer = "[[layer]]\nop = \"dense\"\nfeatures = 2\n";
        let of = |middle: &str| parse(&format!("{head}{middle}{layer}"));
        let (m, _) = of("loss = \"mse\"\ntarget = 2\nloss_weight = 0.5\n").unwrap();
        assert_eq!((m.row_features(), m.graph.node(NodeId(1)).features), (5, 2));
        let loss = m.graph.node(m.graph.loss());
        assert_eq!((loss.op, loss.inputs[1]), (Op::Regression { kind: Regression::Mse, weight: 0.5 }, NodeId(1)));
        for (middle, words) in [
            ("loss = \"mse\"\ntarget = 3\n", ["line 3, column 8", "differ in size"]),
            ("loss = \"mse\"\ntarget = 0\n", ["line 4, column 10", "from 1 to 16384"]),
            ("loss = \"mse\"\ntarget = 2\nloss_weight = 0.0\n", ["line 5, column 15", "positive"]),
            ("loss = \"softmax_cross_entropy\"\ntarget = 2\n", ["line 4, column 10", "classes"]),
            ("loss = \"softmax_cross_entropy\"\nloss_weight = 2.0\n", ["line 4, column 15", "smooth_l1"]),
        ] {
            let e = of(middle).unwrap_err();
            assert!(words.iter().all(|w| e.contains(w)), "{middle:?}: {e}");
        }
    }

    #[test]
    fn mistakes_come_with_line_and_column() {
        for (rest, words) in [
            ("[[layer]]\nop = \"conv3d\"\n", vec!["line 5, column 6", "conv3d", "use conv2d"]),
            ("[[layer]]\nop = \"dense\"\n", vec!["line 5, column 6", "needs `features`"]),
            ("[[layer]]\nop = \"dense\"\nfeatures = 3\nkernel = 2\n", vec!["line 7, column 10", "no `kernel`"]),
            ("[[layer]]\nop = \"dense\"\nfeaturs = 3\n", vec!["line 6, column 1", "featurs"]),
            ("[[layer]]\nop = \"dense\"\nfeatures = 0\n", vec!["line 6, column 12"]),
            ("[[layer]]\nop = \"dense\"\nfeatures = \n", vec!["line 6, column"]),
            ("[[layer]]\nop = \"gru\"\nname = \"r\"\nhidden = 3\n", vec!["`r` (gru)", "`input` gives [1, 8, 8]"]),
            ("[[layer]]\nop = \"add\"\ninputs = [\"x\", \"y\"]\n", vec!["line 6, column 10", "`x`"]),
            ("[[layer]]\nop = \"batch_norm2d\"\n", vec!["line 5, column 6", "use batch_norm"]),
            (
                "[[layer]]\nop = \"reshape\"\nshape = [8, 8]\n[[layer]]\nop = \"batch_norm\"\n",
                vec!["line 8, column 6", "`1` (batch_norm)", "[8, 8]", "layer_norm"],
            ),
            ("[[layer]]\nop = \"max_pool2d\"\nkernel = 3\n", vec!["multiples of 3", "`input`"]),
            ("[[layer]]\nop = \"dropout\"\np = 1.0\n", vec!["line 6, column 5", "below 1"]),
            ("[[layer]]\nop = \"relu\"\np = 0.5\n", vec!["line 6, column 5", "no `p`"]),
            ("[train]\nlr = \"a\"\n", vec!["line 5, column 6"]),
            ("[train]\noptimizer = \"rmsprop\"\n", vec!["line 4", "`rmsprop`", "adagrad"]),
            ("[[layer]]\nop = \"one_hot\"\n", vec!["line 5, column 6", "use embedding"]),
            ("[[layer]]\nop = \"embedding\"\nfeatures = 4\n", vec!["line 5, column 6", "needs `vocabulary`"]),
            (
                "[[layer]]\nop = \"embedding\"\nfeatures = 4\nvocabulary = 300\n",
                vec!["line 7, column 14", "from 1 to 256"],
            ),
            (
                "[[layer]]\nop = \"embedding\"\nfeatures = 4\nvocabulary = 9\n",
                vec!["line 5, column 6", "tokens in a shape [steps]", "[1, 8, 8]"],
            ),
            ("", vec!["line 3, column 8", "no layer"]),
        ] {
            let e = refused(rest);
            assert!(words.iter().all(|w| e.contains(w)), "{rest:?}: {e}");
        }
        let of = |alphabet: &str| parse(&format!("alphabet = \"{alphabet}\"\n{HEAD}")).unwrap_err();
        assert!(of("abca").contains("line 1, column 12") && of("abca").contains("'a' twice"), "{}", of("abca"));
        assert!(of("a").contains("holds 1 characters"), "{}", of("a"));
        let two = "[[layer]]\nop = \"flatten\"\n[[layer]]\nop = \"dense\"\nfeatures = 4\nname = \"d\"\n\
                   [[layer]]\nop = \"add\"\nname = \"a\"\ninputs = [\"d\", \"0\"]\n";
        let e = refused(two);
        assert!(e.contains("`d` [4]") && e.contains("`0` [64]") && e.contains("`a` (add)"), "{e}");
    }
}
