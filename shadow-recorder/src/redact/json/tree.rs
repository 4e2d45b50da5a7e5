//! Where the values of a JSON text stand.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use serde_json_path::{NormalizedPath, PathElement};

/// A value of the text.
#[derive(Debug)]
pub(super) struct Node {
    /// Its number, in the order of the text.
    pub(super) id: usize,
    pub(super) span: Range<usize>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Scalar,
    Array(Vec<Node>),
    Object(Vec<Member>),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    /// Where its name begins.
    pub(super) start: usize,
    pub(super) node: Node,
}

/// A name that an object has several times, by the object's number, and how often.
type Repeated = BTreeMap<(usize, String), usize>;
/// Which of the members with a repeated name counts.
type Choice<'r> = BTreeMap<&'r (usize, String), usize>;

/// Finds the values of a text that is known to be JSON.
pub(super) fn parse(text: &str) -> Option<Node> {
    let mut parser = Parser { text, at: 0, ids: 0 };
    let node = parser.value()?;
    parser.space();
    (parser.at == text.len()).then_some(node)
}

impl Node {
    /// Returns the values at a location: several where names are repeated.
    pub(super) fn at(&self, location: &NormalizedPath<'_>) -> Vec<&Node> {
        let mut nodes = vec![self];
        for element in location.iter() {
            nodes = nodes.into_iter().flat_map(|node| node.step(element)).collect();
        }
        nodes
    }

    fn step(&self, element: &PathElement<'_>) -> Vec<&Node> {
        match (&self.kind, element) {
            (Kind::Object(members), PathElement::Name(name)) => {
                members.iter().filter(|m| m.name == *name).map(|m| &m.node).collect()
            }
            (Kind::Array(elements), PathElement::Index(at)) => {
                elements.get(*at).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns every reading of a document in which names are repeated; none where none is. `None` where there are too many.
    pub(super) fn readings(&self, text: &str, max: usize) -> Option<Vec<Value>> {
        let mut repeated = Repeated::new();
        self.repeated(&mut repeated);
        if repeated.is_empty() {
            return Some(Vec::new());
        }
        let mut choices = vec![Choice::new()];
        for (name, count) in &repeated {
            if choices.len().saturating_mul(*count) > max {
                return None;
            }
            let mut more = Vec::new();
            for choice in choices {
                for place in 0..*count {
                    more.push(
                        choice.iter().map(|(k, v)| (*k, *v)).chain([(name, place)]).collect(),
                    );
                }
            }
            choices = more;
        }
        choices.iter().map(|choice| self.read(text, choice)).collect()
    }

    fn repeated(&self, repeated: &mut Repeated) {
        match &self.kind {
            Kind::Scalar => {}
            Kind::Array(elements) => elements.iter().for_each(|e| e.repeated(repeated)),
            Kind::Object(members) => {
                let mut counts = BTreeMap::<&str, usize>::new();
                for member in members {
                    *counts.entry(&member.name).or_default() += 1;
                    member.node.repeated(repeated);
                }
                let several = counts.into_iter().filter(|(_, count)| *count > 1);
                repeated.extend(several.map(|(name, n)| ((self.id, name.to_owned()), n)));
            }
        }
    }

    fn read(&self, text: &str, choice: &Choice<'_>) -> Option<Value> {
        Some(match &self.kind {
            Kind::Scalar => serde_json::from_str(&text[self.span.clone()]).ok()?,
            Kind::Array(elements) => {
                elements.iter().map(|element| element.read(text, choice)).collect::<Option<_>>()?
            }
            Kind::Object(members) => {
                let mut places = BTreeMap::<&str, usize>::new();
                let mut object = serde_json::Map::new();
                for member in members {
                    let place = places.entry(&member.name).or_default();
                    let chosen = choice.get(&(self.id, member.name.clone()));
                    if chosen.is_none_or(|chosen| chosen == place) {
                        object.insert(member.name.clone(), member.node.read(text, choice)?);
                    }
                    *place += 1;
                }
                Value::Object(object)
            }
        })
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    ids: usize,
}

impl Parser<'_> {
    fn value(&mut self) -> Option<Node> {
        self.space();
        let (id, start) = (self.ids, self.at);
        self.ids += 1;
        let kind = match self.peek()? {
            b'{' => Kind::Object(self.members()?),
            b'[' => Kind::Array(self.elements()?),
            b'"' => {
                self.string()?;
                Kind::Scalar
            }
            _ => {
                let is_end = |byte: &u8| b",]} \t\n\r".contains(byte);
                let rest = &self.text.as_bytes()[start..];
                self.at += rest.iter().position(is_end).unwrap_or(rest.len());
                Kind::Scalar
            }
        };
        Some(Node { id, span: start..self.at, kind })
    }

    fn members(&mut self) -> Option<Vec<Member>> {
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.space();
            match self.peek()? {
                b'}' => break,
                b',' => self.at += 1,
                _ => {
                    let start = self.at;
                    let name = self.string()?;
                    self.space();
                    // The colon.
                    self.at += 1;
                    members.push(Member { name, start, node: self.value()? });
                }
            }
        }
        self.at += 1;
        Some(members)
    }

    fn elements(&mut self) -> Option<Vec<Node>> {
        self.at += 1;
        let mut elements = Vec::new();
        loop {
            self.space();
            match self.peek()? {
                b']' => break,
                b',' => self.at += 1,
                _ => elements.push(self.value()?),
            }
        }
        self.at += 1;
        Some(elements)
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => break,
                _ => {}
            }
        }
        serde_json::from_str(&self.text[start..self.at]).ok()
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| b" \t\n\r".contains(&byte)) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}
