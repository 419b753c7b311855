"use strict";
// Data comes as scripts that call redistill(name, content), since a page that was opened as a file
// may ask for nothing else. Text from data becomes part of the page as textContent alone.
const PAGE = 50, KEPT = 12, ROUNDS = "round";
const VERDICTS = {c: ["✓", "correct"], w: ["✗", "wrong"], n: ["∅", "no answer"], x: ["…", "cut off"], "-": ["·", "none"]};
const LETTERS = {correct: "c", wrong: "w", no_answer: "n", cut_off: "x"};
const WHY = {
  "not wrong": "not asked about: the student was not wrong",
  "stopped": "not asked about: the loop had stopped",
  "unchanged": "the teacher gave the same text again",
  "teacher had nothing to say": "the teacher had nothing to say",
};
const waiting = new Map(), lives = new Map();
const byId = (id) => document.getElementById(id);
let index = null, shown = [], asks = [], lower = [], found = [], state = {}, page = 1, opened = null, plain = false;

function redistill(name, content) {
  const wanted = waiting.get(name);
  waiting.delete(name);
  if (wanted) wanted.resolve(content);
}

function load(name, folder = "problems") {
  const known = waiting.get(name);
  if (known) return known.promise;
  const wanted = {};
  wanted.promise = new Promise((resolve, reject) => Object.assign(wanted, {resolve, reject}));
  waiting.set(name, wanted);
  const script = document.createElement("script");
  script.src = `${folder}/${name}.js`;
  script.onload = () => { script.remove(); if (waiting.get(name) === wanted) script.onerror(); };
  script.onerror = () => {
    waiting.delete(name);
    wanted.reject(new Error(`${folder}/${name}.js cannot be read: the folder problems belongs beside this page, whole.`));
  };
  document.head.append(script);
  return wanted.promise;
}

function el(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function option(value, text) {
  const made = el("option", "", text);
  made.value = value;
  return made;
}

const numbered = (n) => String(n).padStart(3, "0");
const counted = (n) => n.toLocaleString("en");
const named = (gap) => gap.replaceAll("_", " ");

// ---- what is in the address: the filters, the page and the open problem

function read() {
  const text = location.hash.slice(1);
  return text.includes("=") ? Object.fromEntries(new URLSearchParams(text)) : null;
}

function address(changes) {
  const next = new URLSearchParams();
  for (const [key, value] of Object.entries({...state, ...changes})) if (value) next.set(key, value);
  return `#${next}`;
}

function choose(changes) {
  history.replaceState(null, "", address(changes) === "#" ? "#problems" : address(changes));
  state = read() || {};
  list();
}

// ---- finding

function tests() {
  const some = [], first = branch(state.from, index.first), last = branch(state.to, index.chosen);
  const rounds = shown.filter((b) => b.kind === ROUNDS);
  const solved = (b, i) => b.verdicts[i] === "c", there = (b, i) => b.verdicts[i] !== "-";
  const both = (before, after) => (i) => there(first, i) && there(last, i) && solved(first, i) === before && solved(last, i) === after;
  const outcomes = {
    fixed: both(false, true), broken: both(true, false), solved: both(true, true), unsolved: both(false, false),
    never: (i) => rounds.some((b) => there(b, i)) && !rounds.some((b) => solved(b, i)),
    always: (i) => rounds.some((b) => there(b, i)) && rounds.every((b) => !there(b, i) || solved(b, i)),
  };
  if (outcomes[state.outcome]) some.push(outcomes[state.outcome]);
  let start = 0;
  for (const [split, count] of index.splits) {
    if (state.split === split) { const low = start, high = start + count; some.push((i) => i >= low && i < high); }
    start += count;
  }
  const gap = index.gaps.indexOf(state.gap);
  if (gap >= 0) some.push((i) => shown.some((b) => b.gaps[i] === gap));
  const [kind, ...rest] = (state.rationale || "").split(":"), reason = index.reasons.indexOf(rest.join(":"));
  if (kind === "refined") some.push((i) => index.branches.some((b) => b.statuses[i] === "r"));
  if (kind === "same") some.push((i) => index.branches[0].statuses[i] !== "-" && !index.branches.some((b) => b.statuses[i] === "r"));
  if (kind === "kept") some.push((i) => index.branches.some((b) => b.statuses[i] === "k" && (reason < 0 || b.reasons[i] === reason)));
  for (const b of shown) {
    const wanted = state[`v.${b.name}`];
    if (wanted) some.push((i) => b.verdicts[i] === wanted);
  }
  const words = (state.q || "").toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length) some.push((i) => { const text = lower[i] || index.ids[i].toLowerCase(); return words.every((word) => text.includes(word)); });
  return some;
}

function branch(name, otherwise) {
  return index.branches.find((b) => b.name === name) || index.branches.find((b) => b.name === otherwise) || index.branches[0];
}

function list() {
  const some = tests();
  found = [];
  for (let i = 0; i < index.ids.length; i++) if (some.every((test) => test(i))) found.push(i);
  rows();
  fields();
}

function rows() {
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const its = Math.floor(found.indexOf(index.ids.indexOf(state.problem)) / PAGE) + 1;
  page = Math.min(pages, Math.max(1, Number(state.page) || its));
  const some = found.slice((page - 1) * PAGE, page * PAGE);
  byId("rows").replaceChildren(...(some.length ? some.map(row) : [el("li", "none", "No problem is like that.")]));
  byId("rows").scrollTop = 0;
  const read = state.q && asks.length < index.ids.length ? `, of ${counted(asks.length)} read so far` : "";
  byId("count").textContent = `${counted(found.length)} of ${counted(index.ids.length)} problems${read}`;
  byId("page").textContent = `Page ${counted(page)} of ${counted(pages)}`;
  byId("back").disabled = page <= 1;
  byId("on").disabled = page >= pages;
  current();
  neighbours();
}

function neighbours() {
  const at = found.indexOf(index.ids.indexOf(opened));
  for (const button of byId("life").querySelectorAll("button[data-by]")) {
    button.disabled = at < 0 || found[at + Number(button.dataset.by)] === undefined;
  }
}

function row(i) {
  const item = el("li"), link = el("a"), line = el("span", "line"), marks = el("span", "marks");
  link.href = address({problem: index.ids[i], page: page > 1 ? String(page) : ""});
  link.dataset.place = i;
  for (const b of shown) marks.append(mark(b, b.verdicts[i]));
  line.append(el("span", "id", index.ids[i]), marks);
  link.append(line, el("span", "asks", asks[i] === undefined ? "" : asks[i]));
  item.append(link);
  return item;
}

function mark(b, letter, said = true) {
  const [sign, word] = VERDICTS[letter], made = el("span", `mark ${letter === "-" ? "" : letter}${b && b.kind !== ROUNDS ? " other" : ""}`);
  const drawn = el("span", "", sign);
  drawn.setAttribute("aria-hidden", "true");
  made.append(drawn);
  if (said && b) { made.title = `${b.name}: ${word}`; made.append(el("span", "quiet", ` ${b.name} ${word}. `)); }
  return made;
}

function current() {
  const box = byId("rows");
  for (const link of box.querySelectorAll("a")) {
    if (index.ids[link.dataset.place] !== state.problem) { link.removeAttribute("aria-current"); continue; }
    link.setAttribute("aria-current", "true");
    const top = link.offsetTop, seen = top >= box.scrollTop && top + link.offsetHeight <= box.scrollTop + box.clientHeight;
    if (!seen) box.scrollTop = top - box.clientHeight / 3;
  }
}

function turn(by, end) {
  choose({page: String(page + by)});
  const links = byId("rows").querySelectorAll("a");
  if (links.length) links[end ? links.length - 1 : 0].focus();
}

// ---- the life of one problem

async function open(move) {
  const id = state.problem, i = index.ids.indexOf(id), place = byId("life");
  if (!id || opened === id) return;
  opened = id;
  if (i < 0) {
    place.replaceChildren(el("p", "note", `There is no problem ${id} in this report.`));
    return;
  }
  let some;
  try {
    some = await shard(Math.floor(i / index.lives));
  } catch (problem) {
    opened = null;
    return trouble(problem);
  }
  if (state.problem !== id) return;
  const life = some[i % index.lives];
  place.replaceChildren(...head(life, i), ...life.branches.map((one) => branchLife(one, life)));
  neighbours();
  place.classList.toggle("plain", plain);
  if (move) {
    place.querySelector("h3").focus({preventScroll: true});
    place.scrollIntoView({block: matchMedia("(min-width: 64rem)").matches ? "nearest" : "start"});
    if (place.getBoundingClientRect().top < 0) place.scrollIntoView({block: "start"});
  }
}

async function shard(number) {
  const name = `lives-${numbered(number)}`, known = lives.get(name);
  lives.delete(name);
  const content = known || await load(name);
  lives.set(name, content);
  if (lives.size > KEPT) lives.delete(lives.keys().next().value);
  return content;
}

function head(life, i) {
  const top = el("div", "head"), title = el("h3", "", life.id), tools = el("div");
  title.tabIndex = -1;
  const step = (word, by) => {
    const button = el("button", "", word);
    button.type = "button";
    button.dataset.by = by;
    button.onclick = () => {
      const to = found.indexOf(i) + by;
      location.hash = address({problem: index.ids[found[to]], page: String(Math.floor(to / PAGE) + 1)});
    };
    return button;
  };
  const toggle = el("button", "", "Show changes");
  toggle.type = "button";
  toggle.setAttribute("aria-pressed", String(!plain));
  toggle.onclick = () => {
    plain = !plain;
    toggle.setAttribute("aria-pressed", String(!plain));
    byId("life").classList.toggle("plain", plain);
  };
  tools.append(step("Problem before", -1), step("Problem after", 1), toggle);
  top.append(title, tools);
  const parts = [top, el("p", "question", life.question)];
  if (life.choices) {
    const options = el("ul", "options");
    for (const [label, text] of life.choices) options.append(el("li", label === life.answer ? "gold" : "", `(${label}) ${text}`));
    parts.push(options);
  }
  parts.push(facts([["Gold answer", life.answer], ["Split", life.split], ["Source", life.source]]));
  if (life.split === "test") parts.push(el("p", "why soft", "No teacher sees a test problem, so its errors are not diagnosed."));
  if (life.solution) {
    const more = el("details");
    more.append(el("summary", "", "Reference solution"), el("pre", "text", life.solution));
    parts.push(more);
  }
  const strip = el("ol", "strip");
  for (const one of life.branches) {
    const b = index.branches[one.branch], item = el("li");
    if (!one.answer) continue;
    item.append(mark(b, LETTERS[one.answer.verdict], false), el("span", "", b.name), el("small", "", one.error ? named(one.error.gap) : ""));
    item.append(el("span", "quiet", VERDICTS[LETTERS[one.answer.verdict]][1]));
    strip.append(item);
  }
  parts.push(strip);
  return parts;
}

function facts(pairs) {
  const made = el("dl", "facts");
  for (const [label, value] of pairs) if (value) {
    const pair = el("div");
    pair.append(el("dt", "", label), el("dd", "", value));
    made.append(pair);
  }
  return made;
}

function branchLife(one, life) {
  const b = index.branches[one.branch], made = el("section", "branch"), title = el("h4"), columns = el("div", "columns");
  title.append(el("span", "", b.name));
  const notes = [b.kind === ROUNDS ? "" : b.kind === "arm" ? "arm of the ladder" : "control", b.name === index.chosen ? "best on dev" : "", b.passed ? "passed through: no student" : ""];
  title.append(el("small", "", notes.filter(Boolean).join(", ")));
  made.append(title, columns);
  if (one.lesson || one.taught) columns.append(lesson(one));
  if (one.answer) columns.append(answer("Student", one.answer, one.held ? {} : one.error || {}));
  if (one.held) columns.append(answer("Held out: a student that was not taught this problem", one.held, one.error || {}));
  return made;
}

function lesson(one) {
  const made = el("div"), text = one.lesson;
  made.append(el("h5", "", "Rationale"));
  if (one.taught) {
    made.append(el("p", "why soft", `Taught the rationale of ${one.taught}.`));
    return made;
  }
  const told = {
    first: () => `Written by ${text.teacher} and accepted.`,
    refined: () => `Rewritten by ${text.teacher} and accepted. Why: ${named(text.reason || "unknown")}.`,
    kept: () => `Kept as ${text.teacher} wrote it in ${text.round}; ${WHY[text.reason] || (text.reason ? `the new text was rejected: ${text.reason}` : "no reason is recorded")}.`,
  };
  made.append(el("p", "why", told[text.status]()));
  if (text.gaps) made.append(el("p", "why soft", `Treats: ${text.gaps.map(named).join(", ")}`));
  if (text.edits) made.append(drawn(text.edits));
  return made;
}

function answer(who, said, error) {
  const made = el("div"), title = el("h5", "", who), word = VERDICTS[LETTERS[said.verdict]][1];
  made.append(title);
  const notes = [word, said.read ? `answer ${said.read}` : "", `${counted(said.tokens)} tokens`, said.endless ? "without an end" : "", said.lenient ? "right if read leniently" : "", said.passes ? `${said.passes[0]} of ${said.passes[1]} drawn completions correct` : ""];
  const line = el("p", "why");
  line.append(mark(null, LETTERS[said.verdict], false), ` ${notes.filter(Boolean).join(", ")}`);
  made.append(line, said.parts ? drawn(said.parts) : el("p", "why soft", "It wrote nothing."));
  if (said.slip) made.append(el("p", "why", `One drawn completion, ${VERDICTS[LETTERS[said.slip.verdict]][1]}:`), drawn(said.slip.parts || []));
  if (error.gap) made.append(el("p", "why", `Gap: ${named(error.gap)}${error.step ? `. First wrong: ${error.step}` : ""}`));
  if (error.like) {
    const like = el("p", "why soft", "Dev cases with the same gap that go with it to the teacher: ");
    error.like.forEach((id, n) => {
      const link = el("a", "id", id);
      link.href = `#${new URLSearchParams({problem: id})}`;
      like.append(n ? ", " : "", link);
    });
    made.append(like);
  }
  return made;
}

function drawn(parts) {
  const made = el("pre", "text"), tags = {"+": "ins", "-": "del", "!": "mark"};
  for (const [sign, text] of parts) made.append(tags[sign] ? el(tags[sign], "", text) : text);
  return made;
}

// ---- the filters, the keys, the start

function fields() {
  for (const field of byId("filters").querySelectorAll("select, input")) {
    const value = state[field.dataset.key] || field.dataset.otherwise || "";
    if (field.value !== value && field !== document.activeElement) field.value = value;
  }
}

function fill() {
  const add = (id, ...options) => byId(id).append(...options);
  for (const [split, count] of index.splits) if (count) add("f-split", option(split, `${split} (${counted(count)})`));
  for (const gap of index.gaps) add("f-gap", option(gap, named(gap)));
  add("f-rationale", option("refined", "refined"), option("same", "never refined"));
  add("f-rationale", ...index.reasons.map((reason) => option(`kept:${reason}`, `kept: ${reason}`)));
  for (const b of shown) {
    add("f-from", option(b.name, b.name));
    add("f-to", option(b.name, b.name));
    const label = el("label", "", b.name), field = el("select");
    field.append(option("", "any"), ...["c", "w", "n", "x"].map((letter) => option(letter, VERDICTS[letter][1])));
    field.dataset.key = `v.${b.name}`;
    label.append(field);
    byId("f-verdicts").append(label);
  }
  for (const key of ["q", "split", "gap", "rationale", "outcome", "from", "to"]) byId(`f-${key}`).dataset.key = key;
  byId("f-from").dataset.otherwise = index.first;
  byId("f-to").dataset.otherwise = index.chosen;
  const legend = byId("legend");
  legend.append("Verdicts of ", shown.map((b) => b.name).join(", "), ", in this order: ");
  for (const letter of ["c", "w", "n", "x"]) {
    const pair = el("span");
    pair.append(mark(null, letter, false), ` ${VERDICTS[letter][1]}`);
    legend.append(pair);
  }
}

function listen() {
  let timer = 0;
  const changed = (event) => { const field = event.target; choose({[field.dataset.key]: field.value === field.dataset.otherwise ? "" : field.value, page: ""}); };
  byId("filters").addEventListener("change", (event) => { if (event.target.id !== "f-q") changed(event); });
  byId("f-q").addEventListener("input", (event) => { clearTimeout(timer); timer = setTimeout(() => changed(event), 120); });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("reset").onclick = () => { const {problem} = state; state = {}; byId("f-q").value = ""; choose({problem}); };
  byId("back").onclick = () => choose({page: String(page - 1)});
  byId("on").onclick = () => choose({page: String(page + 1)});
  byId("rows").addEventListener("keydown", (event) => {
    const links = [...byId("rows").querySelectorAll("a")], at = links.indexOf(document.activeElement);
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1}[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    if (links[to]) links[to].focus();
    else if (to > 0 && !byId("on").disabled) turn(1, false);
    else if (to < 0 && !byId("back").disabled) turn(-1, true);
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) { event.preventDefault(); byId("f-q").focus(); }
    if (event.key === "Escape" && byId("life").contains(document.activeElement)) (byId("rows").querySelector("[aria-current]") || byId("rows").querySelector("a") || byId("f-q")).focus();
  });
  window.addEventListener("hashchange", () => {
    const next = read();
    if (!next) return;
    const {problem: _, ...before} = state, {problem, ...after} = next;
    state = next;
    if (JSON.stringify(before) !== JSON.stringify(after)) list();
    else current();
    if (!problem) opened = null;
    open(true);
  });
}

function trouble(problem) {
  byId("trouble").textContent = problem.message;
  byId("trouble").hidden = false;
}

// What took how long lies apart, since it differs from run to run; a report without it is whole.
async function times() {
  const rows = await load("timing", "../../metrics/timing");
  for (const [stage, seconds, speed] of rows) {
    const row = el("tr"), head = el("th", "words", stage);
    head.scope = "row";
    row.append(head, el("td", "", counted(seconds)), el("td", "", counted(speed)));
    byId("times-rows").append(row);
  }
  byId("times").hidden = rows.length === 0;
}

async function start() {
  index = await load("index");
  shown = index.branches.filter((b) => !b.passed);
  state = read() || {};
  fill();
  listen();
  list();
  byId("explorer").hidden = false;
  current();
  open(true);
  document.documentElement.dataset.ready = "list";
  for (let n = 0; n * index.questions < index.ids.length; n++) {
    const some = await load(`questions-${numbered(n)}`);
    for (const text of some) {
      lower.push(`${index.ids[asks.length]}\n${text}`.toLowerCase());
      asks.push(text);
    }
    if (state.q) list();
    else for (const link of byId("rows").querySelectorAll("a")) {
      const text = asks[link.dataset.place];
      if (text !== undefined) link.querySelector(".asks").textContent = text;
    }
  }
  document.documentElement.dataset.ready = "all";
}

start().catch(trouble);
times().catch(() => {});
