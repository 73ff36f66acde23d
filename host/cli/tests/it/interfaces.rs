//! The interfaces, as `symbolon component --wit` writes them: fit to be published.

use std::fs;
use std::path::{Path, PathBuf};

use wit_parser::{
    Docs, Function, Resolve, Stability, Type, TypeDef, TypeDefKind, UnresolvedPackageGroup, WorldItem,
};

use crate::site::{command, run};

/// The directories of packages below a directory, and those of their dependencies.
fn packages(wit: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let below = |directory: &Path| {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = entries.filter(|path| path.is_dir()).collect();
        found.sort();
        found
    };
    let own = below(wit).into_iter().filter(|path| !path.ends_with("deps")).collect();
    (own, below(&wit.join("deps")))
}

/// All packages of the directory, resolved.
fn resolve(wit: &Path) -> Resolve {
    let (own, dependencies) = packages(wit);
    let parse = |path: &PathBuf| UnresolvedPackageGroup::parse_dir(path).unwrap();
    let mut groups: Vec<_> = dependencies.iter().chain(&own).map(parse).collect();
    let main = groups.pop().unwrap();
    let mut resolve = Resolve::default();
    resolve.push_groups(main, groups).unwrap();
    resolve
}

/// Collects what a reader would miss.
#[derive(Default)]
struct Review {
    items: usize,
    missing: Vec<String>,
}

impl Review {
    fn documented(&mut self, place: &str, docs: &Docs) {
        self.items += 1;
        if docs.contents.as_ref().is_none_or(|text| text.trim().is_empty()) {
            self.missing.push(format!("{place} has no documentation"));
        }
    }

    fn dated(&mut self, place: &str, stability: &Stability) {
        if !matches!(stability, Stability::Stable { .. }) {
            self.missing.push(format!("{place} has no @since"));
        }
    }

    fn function(&mut self, place: &str, function: &Function) {
        let place = format!("{place}.{}", function.name);
        self.documented(&place, &function.docs);
        self.dated(&place, &function.stability);
    }

    fn type_def(&mut self, place: &str, def: &TypeDef) {
        let Some(name) = &def.name else { return };
        let place = format!("{place}.{name}");
        self.documented(&place, &def.docs);
        self.dated(&place, &def.stability);
        let parts: Vec<_> = match &def.kind {
            TypeDefKind::Record(record) => {
                record.fields.iter().map(|field| (&field.name, &field.docs)).collect()
            }
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().map(|case| (&case.name, &case.docs)).collect()
            }
            TypeDefKind::Enum(cases) => cases.cases.iter().map(|case| (&case.name, &case.docs)).collect(),
            TypeDefKind::Flags(flags) => flags.flags.iter().map(|flag| (&flag.name, &flag.docs)).collect(),
            _ => Vec::new(),
        };
        for (name, docs) in parts {
            self.documented(&format!("{place}.{name}"), docs);
        }
    }
}

#[test]
fn every_item_is_documented_and_says_since_when() {
    let directory = tempfile::tempdir().unwrap();
    run(command().args(["component", "--wit"]).arg(directory.path())).ok();
    let resolve = resolve(directory.path());
    let mut review = Review::default();
    for (_, package) in resolve.packages.iter().filter(|(_, package)| package.name.namespace == "symbolon") {
        let name = &package.name;
        assert!(name.version.is_some(), "{name} has no version");
        for id in package.interfaces.values() {
            let interface = &resolve.interfaces[*id];
            let place = format!("{name}/{}", interface.name.as_deref().unwrap_or_default());
            review.documented(&place, &interface.docs);
            review.dated(&place, &interface.stability);
            interface.functions.values().for_each(|function| review.function(&place, function));
            // A name that is used from elsewhere is documented there.
            let own = interface.types.values().map(|id| &resolve.types[*id]).filter(|def| match def.kind {
                TypeDefKind::Type(Type::Id(used)) => resolve.types[used].owner == def.owner,
                _ => true,
            });
            own.for_each(|def| review.type_def(&place, def));
        }
        for id in package.worlds.values() {
            let world = &resolve.worlds[*id];
            let place = format!("{name}/{}", world.name);
            review.documented(&place, &world.docs);
            review.dated(&place, &world.stability);
        }
    }
    assert!(review.items > 200, "only {} items were looked at", review.items);
    assert!(review.missing.is_empty(), "{:#?}", review.missing);
}

/// What a world names explicitly is dated, and comes from a package whose version is fixed.
#[test]
fn every_package_can_be_encoded_as_registries_take_it() {
    let directory = tempfile::tempdir().unwrap();
    run(command().args(["component", "--wit"]).arg(directory.path())).ok();
    let resolve = resolve(directory.path());
    for (id, package) in resolve.packages.iter().filter(|(_, package)| package.name.namespace == "symbolon") {
        let encoded = wit_component::encode(&resolve, id).unwrap();
        let decoded = wit_component::decode(&encoded).unwrap();
        let found = &decoded.resolve().packages[decoded.package()];
        assert_eq!(found.name, package.name);
        assert_eq!(found.interfaces.len(), package.interfaces.len(), "{}", package.name);
    }
    for (_, world) in resolve.worlds.iter() {
        for item in world.imports.values().chain(world.exports.values()) {
            if let WorldItem::Interface { id, .. } = item {
                let package = resolve.interfaces[*id].package.map(|package| &resolve.packages[package].name);
                assert!(package.is_some_and(|name| name.version.is_some()), "{}: {package:?}", world.name);
            }
        }
    }
}

/// `wkg` reads the metadata of a package from the file beside it.
#[test]
fn every_package_has_metadata_for_registries() {
    let directory = tempfile::tempdir().unwrap();
    run(command().args(["component", "--wit"]).arg(directory.path())).ok();
    let (own, _) = packages(directory.path());
    assert!(own.len() >= 2);
    for package in own {
        let text =
            fs::read_to_string(package.join("wkg.toml")).unwrap_or_else(|_| panic!("{}", package.display()));
        for key in ["description = \"", "licenses = \"MIT OR Apache-2.0\"", "authors = \"", "[metadata]"] {
            assert!(text.contains(key), "{}: {key}", package.display());
        }
        // What it depends on is found beside it, without a registry.
        for line in text.lines().filter(|line| line.contains("path = ")) {
            let path = line.split("path = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            assert!(package.join(path).is_dir(), "{}: {path}", package.display());
        }
    }
}
