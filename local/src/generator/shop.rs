//! Shop: people, products and pages, made up but plausible, with the letters and quotes that real ones have.
//!
//! Neighbours: event. Pure, seeded.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// A customer; the same for every event of a user within a run.
#[derive(Clone, Debug)]
pub struct Person {
    pub name: String,
    pub email: String,
    /// Days since 1970; before it for most.
    pub birthday: i32,
    pub street: String,
    pub city: &'static str,
    pub postal_code: String,
    pub country: &'static str,
    pub currency: &'static str,
    pub loyalty_level: i64,
}

/// Something on sale.
#[derive(Clone, Debug)]
pub struct Product {
    pub sku: String,
    pub title: &'static str,
    pub cents: i64,
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    PageViewed,
    Searched,
    AddedToCart,
    RemovedFromCart,
    CheckoutStarted,
    OrderPlaced,
    PaymentCaptured,
    PaymentDeclined,
    OrderShipped,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::PageViewed => "page_viewed",
            Kind::Searched => "searched",
            Kind::AddedToCart => "added_to_cart",
            Kind::RemovedFromCart => "removed_from_cart",
            Kind::CheckoutStarted => "checkout_started",
            Kind::OrderPlaced => "order_placed",
            Kind::PaymentCaptured => "payment_captured",
            Kind::PaymentDeclined => "payment_declined",
            Kind::OrderShipped => "order_shipped",
        }
    }

    pub fn buys(self) -> bool {
        self.pays() || matches!(self, Kind::CheckoutStarted | Kind::OrderPlaced | Kind::OrderShipped)
    }

    pub fn pays(self) -> bool {
        matches!(self, Kind::PaymentCaptured | Kind::PaymentDeclined)
    }

    pub fn is_basket(self) -> bool {
        matches!(self, Kind::AddedToCart | Kind::RemovedFromCart)
    }

    pub fn is_search(self) -> bool {
        self == Kind::Searched
    }
}

const KINDS: [(Kind, u32); 9] = [
    (Kind::PageViewed, 52),
    (Kind::Searched, 12),
    (Kind::AddedToCart, 14),
    (Kind::RemovedFromCart, 3),
    (Kind::CheckoutStarted, 5),
    (Kind::OrderPlaced, 6),
    (Kind::PaymentCaptured, 5),
    (Kind::PaymentDeclined, 1),
    (Kind::OrderShipped, 2),
];

const GIVEN: [&str; 14] = [
    "Ana",
    "Zoë",
    "李雷",
    "Jürgen",
    "Siobhán",
    "Mohammed",
    "Nguyễn",
    "Olga",
    "Ольга",
    "Łukasz",
    "Kwame",
    "さくら",
    "Ann \"Annie\"",
    "José",
];
const FAMILY: [&str; 12] = [
    "O'Connor",
    "García",
    "Müller",
    "Smith",
    "van der Berg",
    "Østergård",
    "Иванова",
    "Tanaka",
    "Okafor",
    "d'Angelo",
    "Brown-Lee",
    "Şahin",
];
const CITIES: [(&str, &str, &str); 8] = [
    ("Berlin", "DE", "EUR"),
    ("München", "DE", "EUR"),
    ("São Paulo", "BR", "BRL"),
    ("東京", "JP", "JPY"),
    ("New York", "US", "USD"),
    ("London", "GB", "GBP"),
    ("Kraków", "PL", "PLN"),
    ("Reykjavík", "IS", "ISK"),
];
const STREETS: [&str; 6] =
    ["Hauptstraße", "Rue de l'Église", "High Street", "C:\\Lane", "Calle Mayor", "Nørre Allé"];
const PRODUCTS: [(&str, i64); 12] = [
    ("Cotton T-shirt, black", 1_499),
    ("Café filter 1×4", 450),
    ("27\" monitor", 24_900),
    ("Garden hose 3/4\"", 1_990),
    ("USB-C cable", 899),
    ("Teddy 🧸", 1_750),
    ("Notebook A5 / dotted", 620),
    ("Espresso machine", 129_999),
    ("Socks, 3 pairs", 1_000),
    ("Smörgås board", 3_305),
    ("Gift card", 5_000),
    ("Sticker", 5),
];
const SEARCHES: [&str; 9] = [
    "t-shirt black",
    "größe 42",
    "café",
    "usb c\tcable",
    "\"exact phrase\"",
    "🎁 for mum",
    "100% wool",
    "красные носки",
    "back\\slash",
];
const ATTRIBUTES: [&str; 9] = [
    "newsletter",
    "black-friday-2026",
    "B",
    "Firefox/145.0",
    "XL",
    "leave at \"door 3\"",
    "",
    "ÄÖÜß",
    "line\none",
];
const TAGS: [&str; 6] = ["new", "sale", "eco", "vegan", "läuft aus", "👍"];

pub fn kind(rng: &mut StdRng) -> Kind {
    let weights: u32 = KINDS.iter().map(|k| k.1).sum();
    let mut ticket = rng.random_range(0..weights);
    for (kind, weight) in KINDS {
        if ticket < weight {
            return kind;
        }
        ticket -= weight;
    }
    Kind::PageViewed
}

pub fn person(seed: u64, user_id: i64) -> Person {
    let mut rng = StdRng::seed_from_u64(seed.rotate_left(32) ^ user_id as u64);
    let rng = &mut rng;
    let (given, family) = (pick(rng, &GIVEN), pick(rng, &FAMILY));
    let (city, country, currency) = *CITIES.choose(rng).unwrap_or(&CITIES[0]);
    Person {
        name: format!("{given} {family}"),
        email: format!("user{user_id}@example.{}", country.to_lowercase()),
        birthday: rng.random_range(-14_000..14_000),
        street: format!("{} {}", pick(rng, &STREETS), rng.random_range(1..200)),
        city,
        postal_code: format!("{:05}", rng.random_range(0..100_000)),
        country,
        currency,
        loyalty_level: rng.random_range(-1..=5),
    }
}

pub fn product(rng: &mut StdRng) -> Product {
    let number = rng.random_range(0..PRODUCTS.len());
    let (title, cents) = PRODUCTS[number];
    Product { sku: format!("SKU-{:05}", 10_007 * (number + 1) % 99_991), title, cents }
}

pub fn path(rng: &mut StdRng) -> String {
    let product = product(rng);
    match rng.random_range(0..4) {
        0 => "/".to_owned(),
        1 => format!("/search?q={}&page={}", product.cents, rng.random_range(1..9)),
        2 => "/cart".to_owned(),
        _ => format!("/p/{}?ref=home#reviews", product.sku),
    }
}

pub fn search(rng: &mut StdRng) -> String {
    pick(rng, &SEARCHES).to_owned()
}

pub fn attribute(rng: &mut StdRng) -> String {
    pick(rng, &ATTRIBUTES).to_owned()
}

pub fn tag(rng: &mut StdRng) -> String {
    pick(rng, &TAGS).to_owned()
}

fn pick<'a>(rng: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(rng).copied().unwrap_or("")
}
