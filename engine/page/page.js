// The table of films: search, sort, and the way from a film to its nearest ones.
//
// An address ends with #APPROACH/DECADE or #APPROACH/DECADE/FILM, and everything shown follows from
// it, so that links, the Back button and bookmarks work. Text from outside is only ever put in as
// text, never as HTML.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const [films, search, sort, found, elsewhere, rows, more] =
  ["films", "search", "sort", "found", "elsewhere", "rows", "more"].map((id) =>
    document.getElementById(id),
  );
const PAGE = 50; // Rows that are shown, and added, at once.
const NOT_FINITE = -(2 ** 15);
const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;

// --- what the page knows ------------------------------------------------------------------------

const sections = new Map([...document.querySelectorAll(".decade")].map((s) => [s.id, s]));
const decades = new Map(data.decades.map((d) => [`${d.approach}/${d.decade}`, d]));
const whole = document.querySelector(".decade.chosen").id; // The one to begin with.

// Without accents and capitals, so that "amelie" finds "Amélie".
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const title = (id) => (Object.hasOwn(data.titles, id) ? data.titles[id] : id.trim() ? id : `“${id}”`);

// What is made of a list of ids, or of a decade, when it is first asked for.
const remembered = (make) => {
  const made = new Map();
  return (key) => made.get(key) ?? made.set(key, make(key)).get(key);
};
const searchable = remembered((list) =>
  data.ids[list].map((id) => plain(title(id) === id ? id : `${title(id)}\n${id}`)),
);
const placeOf = remembered((list) => new Map(data.ids[list].map((id, place) => [id, place])));
const arrays = remembered((decade) => {
  const ids = data.ids[decade.ids];
  const Place = ids.length <= 2 ** 16 ? Uint16Array : Uint32Array;
  const array = (text, Type) => new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  return {
    ids,
    order: array(decade.order, Place),
    places: array(decade.places, Place),
    values: array(decade.values, Int16Array),
  };
});

function similarity(decade, value) {
  if (value === NOT_FINITE) return "not finite";
  const { decimals } = decade;
  const number = decimals < 0 ? value * 10 ** -decimals : value / 10 ** decimals;
  return decimals < 0 || decimals > 8 ? number.toPrecision(4) : number.toFixed(decimals);
}

// --- which films, in which order ----------------------------------------------------------------

function matches(list, words) {
  const texts = searchable(list);
  return [...texts.keys()].filter((place) => words.every((word) => texts[place].includes(word)));
}

function sorted(decade, places, film) {
  const { ids, order, values } = arrays(decade);
  const nearest = (place) => (decade.k ? values[place * decade.k] : 0);
  if (sort.value === "name") {
    const { compare } = new Intl.Collator("en", { numeric: true });
    const names = ids.map(title);
    places.sort((a, b) => compare(names[a], names[b]));
  } else if (sort.value === "near") {
    places.sort((a, b) => nearest(b) - nearest(a));
  } else if (sort.value === "far") {
    places.sort((a, b) => nearest(a) - nearest(b));
  } else if (sort.value === "map") {
    // From the chosen film on, and round, so that what is beside it in the map follows it.
    const kept = new Set(places);
    const from = film === undefined ? 0 : order.indexOf(film);
    places = [...order.slice(from), ...order.slice(0, from)].filter((place) => kept.has(place));
  }
  return places;
}

// --- what is shown ------------------------------------------------------------------------------

let now = { key: "", film: undefined, places: [], shown: 0 };

const address = (key, id) => `#${[...key.split("/"), ...(id === undefined ? [] : [id])].map(encodeURIComponent).join("/")}`;

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function name(id) {
  // Its own direction of writing, whatever is beside it.
  const shown = element("bdi", {}, title(id));
  if (title(id) !== id) shown.title = id;
  return shown;
}

function row(place) {
  const decade = decades.get(now.key);
  const { ids, places, values } = arrays(decade);
  const id = ids[place];
  const near = element("ol", {});
  for (let k = place * decade.k; k < (place + 1) * decade.k; k++) {
    if (places[k] === place) break; // There are no more.
    const other = ids[places[k]];
    const link = element("a", { href: address(now.key, other) }, name(other));
    near.append(element("li", {}, element("span", {}, similarity(decade, values[k])), link));
  }
  const film = element("th", { scope: "row" }, element("a", { href: address(now.key, id) }, name(id)));
  if (title(id) !== id) film.append(element("small", {}, element("bdi", {}, id)));
  const made = element("tr", {}, film, element("td", {}, near));
  if (place === now.film) {
    made.className = "chosen";
    made.tabIndex = -1;
    film.append(element("a", { href: address(now.key), className: "leave" }, "Back to all"));
  }
  return made;
}

function addRows() {
  const next = now.places.slice(now.shown, now.shown + PAGE);
  rows.append(...next.map(row));
  now.shown += next.length;
  const left = now.places.length - now.shown;
  more.hidden = !left;
  more.textContent = `Show ${Math.min(PAGE, left)} more of ${left.toLocaleString("en")}`;
}

function showTable() {
  clearTimeout(waiting); // Or what is shown now would be replaced under the hand that clicks on it.
  const decade = decades.get(now.key);
  const { ids } = arrays(decade);
  const words = plain(search.value).split(/\s+/).filter(Boolean);
  const places = matches(decade.ids, words);
  now.places = sorted(decade, [...places], now.film);
  // First the chosen film, whatever is searched for; of the others one whose id was typed.
  for (const first of [placeOf(decade.ids).get(search.value.trim()), now.film]) {
    if (first !== undefined) now.places = [first, ...now.places.filter((place) => place !== first)];
  }
  now.shown = 0;
  rows.replaceChildren();
  addRows();
  const all = count(ids.length, "film");
  found.textContent = words.length ? `${places.length.toLocaleString("en")} of ${all} found` : all;
  elsewhere.replaceChildren();
  for (const [key, other] of words.length ? decades : []) {
    if (other.approach !== decade.approach || other === decade) continue;
    const n = matches(other.ids, words).length;
    if (n) elsewhere.append(element("a", { href: address(key) }, `${n.toLocaleString("en")} in the ${other.decade}`), " ");
  }
  if (elsewhere.firstChild) elsewhere.prepend("Also ");
}

// What the address names: a decade that is here, and perhaps a film of it.
function named() {
  let path;
  try {
    path = location.hash.slice(1).split("/").map(decodeURIComponent);
  } catch {
    path = []; // Not made by this page.
  }
  const key = path.slice(0, 2).join("/");
  if (!decades.has(key)) return { key: now.key || whole };
  const film = path.length > 2 ? placeOf(decades.get(key).ids).get(path[2]) : undefined;
  return { key, film, asked: true };
}

function follow() {
  const { key, film, asked } = named();
  const moved = key !== now.key;
  now = { ...now, key, film };
  for (const [id, section] of sections) section.classList.toggle("chosen", id === key);
  for (const link of document.querySelectorAll(".overview a")) {
    const here = decodeURIComponent(link.hash.slice(1)) === key;
    link.closest("tr").classList.toggle("here", here);
    if (here) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (moved) sections.get(key).append(films);
  showTable();
  // The focus goes along, for who hears the page or goes by Tab.
  const goal = film === undefined ? sections.get(key).querySelector("h2") : rows.firstChild;
  if (!asked) return;
  goal.focus({ preventScroll: true });
  goal.scrollIntoView({ block: "start" });
}

// --- what a person does -------------------------------------------------------------------------

let waiting;
search.addEventListener("input", () => {
  // What is searched for now comes first, not the film that was chosen before.
  if (now.film !== undefined) history.replaceState(null, "", address(now.key));
  now.film = undefined;
  clearTimeout(waiting);
  waiting = setTimeout(showTable, 120); // Not with every letter of a word.
});
search.form.addEventListener("submit", (event) => {
  event.preventDefault();
  showTable();
});
sort.addEventListener("change", showTable);
more.addEventListener("click", () => {
  const first = now.shown;
  addRows();
  rows.children[first].querySelector("a").focus();
});
// A film of the heat map: the table goes on from it in the map's order.
for (const [key, section] of sections) {
  section.querySelector(".map")?.addEventListener("click", (event) => {
    const { ids, order } = arrays(decades.get(key));
    const part = event.offsetY / event.target.clientHeight;
    sort.value = "map";
    location.hash = address(key, ids[order[Math.min(ids.length - 1, Math.floor(part * ids.length))]]);
  });
}
window.addEventListener("hashchange", follow);

document.documentElement.classList.add("js");
films.hidden = false;
follow();
