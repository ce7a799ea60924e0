//! Model files of GANs: `[generator]` and `[discriminator]`, each with its layers and its optimizer.

use serde::Deserialize;
use toml::Spanned;

use super::{File, Layer, Mistake, stack};
use crate::graph::Graph;
use crate::graph::gan::{self, Gan, OptimizerSettings};

/// One of the two networks of a GAN, and its optimizer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Adversary {
    optimizer: Spanned<String>,
    lr: Spanned<f32>,
    betas: Option<Spanned<[f32; 2]>>,
    momentum: Option<Spanned<f32>>,
    #[serde(default)]
    layer: Vec<Layer>,
}

/// The generator, and with the discriminator behind it the passes that train both.
pub(super) fn gan(file: &File, g: &Spanned<Adversary>, d: &Spanned<Adversary>) -> Result<(Graph, Gan), Mistake> {
    if let Some(loss) = &file.loss {
        let why = "a GAN's loss is sigmoid_bce of the discriminator's output: leave `loss` out";
        return Err((loss.span(), why.into()));
    }
    if let Some(span) = file.loss_weight.as_ref().map(Spanned::span).or(file.target.as_ref().map(Spanned::span)) {
        return Err((span, "a GAN compares with nothing but 0 and 1: leave `target` and `loss_weight` out".into()));
    }
    if let Some(layer) = file.layer.first() {
        let why = "layers of a GAN belong to one of its networks: [[generator.layer]] or [[discriminator.layer]]";
        return Err((layer.op.span(), why.into()));
    }
    let train = file.train.get_ref();
    if train.optimizer.is_some() || train.lr.is_some() || train.momentum.is_some() {
        let why = "each network of a GAN has its own optimizer: `optimizer`, `lr` and `momentum` belong to [generator] and [discriminator]";
        return Err((file.train.span(), why.into()));
    }
    let latent = match &file.latent {
        Some(n) if (1..=16384).contains(n.get_ref()) => *n.get_ref(),
        Some(n) => return Err((n.span(), "`latent`, the generator's random inputs, must be from 1 to 16384".into())),
        None => return Err((g.span(), "the generator needs inputs: write latent = 16 beside `input`".into())),
    };
    let mut graph = Graph::default();
    let noise = graph.latent(latent);
    let image = stack(&mut graph, &g.get_ref().layer, "generator.", noise)?;
    let of_generator = graph.parameters.len();
    let (made, wanted) = (&graph.node(image).shape, file.input.get_ref());
    if of_generator == 0 {
        return Err((g.span(), "the generator has no layer with parameters".into()));
    }
    if made != wanted {
        return Err((g.span(), format!("the generator makes {made:?}, the data set has {wanted:?}: `input`")));
    }
    let logit = stack(&mut graph, &d.get_ref().layer, "discriminator.", image)?;
    if graph.parameters.len() == of_generator {
        return Err((d.span(), "the discriminator has no layer with parameters".into()));
    }
    if graph.node(logit).shape != [1] {
        let shape = &graph.node(logit).shape;
        let why = format!("the discriminator ends in {shape:?}; it must end in [1], the logit of `this is real`");
        return Err((d.span(), why));
    }
    let optimizers = [optimizer(d.get_ref())?, optimizer(g.get_ref())?];
    gan::adversaries(graph, image, of_generator, optimizers).map_err(|e| (d.span(), e.to_string()))
}

/// Checks the settings of an optimizer.
fn optimizer(of: &Adversary) -> Result<OptimizerSettings, Mistake> {
    let name = of.optimizer.get_ref().as_str();
    let (adam, sgd) = (matches!(name, "adam" | "adamw"), name == "sgd");
    if !adam && !sgd && name != "adagrad" {
        let why = format!("unknown optimizer `{name}`: there are sgd, adam, adamw, adagrad");
        return Err((of.optimizer.span(), why));
    }
    let lr = *of.lr.get_ref();
    if !(lr > 0.0 && lr.is_finite()) {
        return Err((of.lr.span(), "a learning rate is a positive number".into()));
    }
    let fraction = |v: f32| (0.0..1.0).contains(&v);
    let betas = match &of.betas {
        Some(b) if !adam => return Err((b.span(), format!("`{name}` takes no `betas`; adam and adamw do"))),
        Some(b) if !b.get_ref().iter().all(|&v| fraction(v)) => {
            return Err((b.span(), "`betas` must be at least 0 and below 1".into()));
        }
        Some(b) => (b.get_ref()[0], b.get_ref()[1]),
        None => (0.9, 0.999),
    };
    let momentum = match &of.momentum {
        Some(m) if !sgd => return Err((m.span(), format!("`{name}` takes no `momentum`; sgd does"))),
        Some(m) if !fraction(*m.get_ref()) => {
            return Err((m.span(), "`momentum` must be at least 0 and below 1".into()));
        }
        Some(m) => *m.get_ref(),
        None => 0.0,
    };
    Ok(OptimizerSettings { name: name.into(), lr, betas, momentum })
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    const GENERATOR: &str = "[generator]\noptimizer = \"adam\"\nlr = 0.001\nbetas = [0.5, 0.999]\n\
                             [[generator.layer]]\nop = \"dense\"\nfeatures = 4\n";
    const DISCRIMINATOR: &str = "[discriminator]\noptimizer = \"sgd\"\nlr = 0.1\nmomentum = 0.5\n\
                                 [[discriminator.layer]]\nop = \"dense\"\nname = \"judge\"\nfeatures = 1\n";

    #[test]
    fn a_gan_has_two_phases_over_one_list_of_parameters() {
        let text = format!("name = \"g\"\ninput = [4]\nlatent = 3\n{GENERATOR}{DISCRIMINATOR}");
        let model = parse(&text).unwrap().0;
        let names: Vec<&str> = model.graph.parameters.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(
            names,
            ["generator.0.weight", "generator.0.bias", "discriminator.judge.weight", "discriminator.judge.bias"]
        );
        assert_eq!((model.row_features(), model.graph.input_features()), (4, 3));
        let [d, g] = &model.gan.unwrap().phases;
        assert_eq!((d.name, d.optimizer.lr, d.optimizer.momentum, d.passes.len()), ("discriminator", 0.1, 0.5, 2));
        assert_eq!((g.name, g.optimizer.betas, g.passes.len()), ("generator", (0.5, 0.999), 1));
        for (phase, trained) in [(d, [false, false, true, true]), (g, [true, true, false, false])] {
            for pass in &phase.passes {
                let found: Vec<bool> = pass.graph.parameters.iter().map(|p| p.requires_grad).collect();
                assert_eq!(found, trained, "{} {}", phase.name, pass.name);
            }
        }
        assert!(!d.passes[0].graph.reads_noise() && d.passes[1].graph.reads_noise());
    }

    #[test]
    fn mistakes_in_a_gan_are_found_with_their_place() {
        let head = "name = \"g\"\ninput = [4]\nlatent = 3\n";
        let whole = format!("{head}{GENERATOR}{DISCRIMINATOR}");
        assert!(parse(&whole).is_ok());
        for (old, new, words) in [
            (DISCRIMINATOR, "", vec!["line 4, column 1", "[discriminator]"]),
            (GENERATOR, "", vec!["line 4, column 1", "[generator]"]),
            ("latent = 3\n", "", vec!["line 3, column 1", "latent = 16"]),
            ("latent = 3", "latent = 0", vec!["line 3, column 10", "16384"]),
            ("latent = 3", "latent = 3\nloss = \"mse\"", vec!["line 4, column 8", "sigmoid_bce"]),
            ("latent = 3", "latent = 3\ntarget = 4", vec!["line 4, column 10", "`target`"]),
            ("latent = 3", "latent = 3\n[train]\nlr = 0.1", vec!["line 4", "[generator] and [discriminator]"]),
            ("latent = 3", "latent = 3\n[[layer]]\nop = \"relu\"", vec!["line 5, column 6", "[[generator.layer]]"]),
            ("\"adam\"", "\"adm\"", vec!["line 5, column 13", "`adm`", "adamw"]),
            ("lr = 0.001\n", "", vec!["line 4, column 1", "`lr`"]),
            ("lr = 0.001", "lr = -1.0", vec!["line 6, column 6", "positive"]),
            ("[0.5, 0.999]", "[0.5, 1.0]", vec!["line 7, column 9", "below 1"]),
            ("[0.5, 0.999]", "[0.5]", vec!["line 7, column 9"]),
            ("momentum = 0.5", "betas = [0.5, 0.9]", vec!["line 14, column 9", "`sgd` takes no `betas`"]),
            ("momentum = 0.5", "momentum = 1.5", vec!["line 14, column 12", "below 1"]),
            ("features = 4", "features = 5", vec!["line 4, column 1", "[5]", "[4]"]),
            ("features = 1", "features = 2", vec!["line 11, column 1", "[2]", "[1]"]),
            ("features = 1", "featurs = 1", vec!["line 18, column 1", "featurs"]),
            (
                "op = \"dense\"\nname = \"judge\"\nfeatures = 1",
                "op = \"max_pool2d\"\nname = \"judge\"\nkernel = 2",
                vec!["line 16, column 6", "`discriminator.judge` (max_pool2d)", "`generator.0` gives [4]"],
            ),
        ] {
            assert!(whole.contains(old), "{old}");
            let e = parse(&whole.replacen(old, new, 1)).unwrap_err();
            assert!(words.iter().all(|w| e.contains(w)), "{old:?} -> {new:?}: {e}");
        }
        let e = parse("name = \"t\"\ninput = [4]\nlatent = 3\nloss = \"mse\"\n").unwrap_err();
        assert!(e.contains("line 3, column 10") && e.contains("GAN"), "{e}");
        let e = parse("name = \"t\"\ninput = [4]\n").unwrap_err();
        assert!(e.contains("loss"), "{e}");
    }
}
