//! The documentation hangs together: every relative link and every picture leads to a file, every fragment to a heading, and
//! the book's table of contents lists every chapter once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").into()
}

/// All Markdown files of the repository, but not of what is built or cloned into it.
fn pages(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !["target", "runs", "shared", "node_modules"].contains(&&*name) {
            pages(&path, out);
        } else if path.extension().is_some_and(|e| e == "md") {
            out.push(path);
        }
    }
}

/// A page's text with its includes in place, as mdBook has it.
fn text(page: &Path) -> String {
    let own = fs::read_to_string(page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let mut out = String::new();
    for line in own.lines() {
        match line.strip_prefix("{{#include ").and_then(|l| l.strip_suffix("}}")) {
            Some(path) => out += &text(&page.parent().expect("a folder").join(path)),
            None => out += line,
        }
        out.push('\n');
    }
    out
}

/// Destinations of links and pictures.
fn links(text: &str) -> Vec<String> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
    let events = Parser::new_ext(text, options);
    events
        .filter_map(|e| match e {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
            _ => None,
        })
        .collect()
}

/// The fragments that a page's headings have, as GitHub and mdBook make them.
fn fragments(text: &str) -> BTreeSet<String> {
    let (mut out, mut heading) = (BTreeSet::new(), None);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), h) => *h = Some(String::new()),
            (Event::End(TagEnd::Heading(_)), h) => {
                let title = h.take().expect("it began").to_lowercase();
                let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                out.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
            }
            (Event::Text(t) | Event::Code(t), Some(h)) => h.push_str(&t),
            _ => {}
        }
    }
    out
}

fn outside(link: &str) -> bool {
    link.contains("://") || link.starts_with("mailto:")
}

#[test]
fn every_link_leads_somewhere() {
    let mut all = Vec::new();
    pages(&root(), &mut all);
    assert!(all.len() >= 8, "{all:?}");
    let (mut broken, mut checked) = (Vec::new(), 0);
    for page in &all {
        let text = text(page);
        for link in links(&text).iter().filter(|l| !outside(l)) {
            checked += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().expect("a folder").join(path) };
            let there = target.exists()
                && (fragment.is_empty()
                    || target.extension().is_none_or(|e| e != "md")
                    || fragments(&self::text(&target)).contains(fragment));
            if !there {
                broken.push(format!("{}: {link}", page.strip_prefix(root()).expect("inside").display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(checked > 7, "only {checked} links were found");
}

#[test]
fn the_table_of_contents_lists_every_chapter_once() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).expect("the table of contents");
    let mut listed = links(&summary);
    assert!(listed.iter().all(|l| !Path::new(l).components().any(|c| c == Component::ParentDir)), "{listed:?}");
    let count = listed.len();
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), count, "a chapter is listed twice");
    let mut there = Vec::new();
    pages(&docs, &mut there);
    let there: Vec<String> = there
        .iter()
        .map(|p| p.strip_prefix(&docs).expect("inside").to_string_lossy().replace('\\', "/"))
        .filter(|p| p != "SUMMARY.md")
        .collect();
    let missing: Vec<&String> = there.iter().filter(|p| !listed.contains(p)).collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
    let absent: Vec<&String> = listed.iter().filter(|l| !there.contains(l)).collect();
    assert!(absent.is_empty(), "listed, but not there: {absent:?}");
}

#[test]
fn tests_that_chapters_name_exist() {
    let mut all = Vec::new();
    pages(&root().join("docs"), &mut all);
    let mut checked = 0;
    for page in &all {
        for event in Parser::new_ext(&text(page), Options::ENABLE_TABLES) {
            let Event::Code(code) = event else { continue };
            let Some((file, name)) = code.split_once(".rs::") else { continue };
            let source = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
            let there = source.contains(&format!("fn {name}("));
            assert!(there, "{}: there is no {code}", page.strip_prefix(root()).expect("inside").display());
            checked += 1;
        }
    }
    assert!(checked > 15, "only {checked} names were found");
}

#[test]
fn a_broken_link_and_a_lost_fragment_would_be_found() {
    assert_eq!(links("see [a](b.md#c) and ![d](e.svg), `[not](this)`"), ["b.md#c", "e.svg"]);
    assert!(fragments("## The NaN: `7e00`, one").contains("the-nan-7e00-one"));
    assert!(outside("https://x") && !outside("img/x.svg"));
}
