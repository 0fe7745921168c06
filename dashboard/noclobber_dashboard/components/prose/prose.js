// Builds elements from data. Only these tags, only our own paths and addresses of the operator's, every text by
// textContent. A part that keeps itself fresh is asked for anew, and only what changed in it is made again.

const TAGS = new Set(["div", "span", "p", "h1", "h2", "h3", "code", "b", "ul", "li", "a", "button", "pre", "dl", "dt", "dd"]);
const AGES_MS = 5_000;

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".prose");
  if (!root || !data) return;
  root.classList.toggle("dark", isDark(root));
  shown(root, data);
  mendMenu();
  root.stop?.();
  root.stop = data.again ? kept(root, data.again) : null;
  return root.stop || undefined;
}

function shown(root, data) {
  if (data.now) root.skew = Date.now() - data.now;
  filled(root, data.nodes);
  ages(root);
}

// Ages count on here; the server is asked again while somebody looks, and at once when somebody looks again.
function kept(root, { path, seconds, tag }) {
  if (!/^\/parts\/[a-z]+(\?[\w=&%.+~-]*)?$/.test(path)) return null;
  let asked = Date.now(), busy = false;
  const ask = async () => {
    asked = Date.now();
    busy = true;
    try {
      const answer = await fetch(path, { headers: { "if-none-match": tag }, cache: "no-store" });
      if (answer.status === 200) {
        tag = answer.headers.get("etag");
        if (root.isConnected) shown(root, await answer.json());
      }
      stale(root, answer.status === 200 || answer.status === 304 ? "" : answer.status);
    } catch {
      stale(root, "no answer");
    }
    busy = false;
  };
  const look = () => {
    if (!root.isConnected) return stop();
    if (document.hidden) return;
    ages(root);
    if (!busy && Date.now() - asked >= 1000 * seconds - 50) ask();
  };
  const timer = setInterval(look, Math.min(AGES_MS, 1000 * seconds));
  const stop = () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", look);
  };
  document.addEventListener("visibilitychange", look);
  root.fresh = Date.now();
  return stop;
}

function stale(root, why) {
  const before = root.querySelector(":scope > .stale");
  if (!why) {
    root.fresh = Date.now();
    before?.remove();
  } else if (!before) {
    const at = new Date(root.fresh - (root.skew || 0)).toISOString().slice(11, 19);
    const note = element("p", "warning stale", `Shown as of ${at} UTC: the dashboard does not answer (${why}). It is asked again.`);
    note.setAttribute("role", "status");
    root.prepend(note);
  }
}

// Children in their order: what says the same stays in place, with its focus and its scroll.
function filled(parent, items) {
  const before = [...parent.childNodes].filter((child) => !child.classList?.contains("stale"));
  items.forEach((item, place) => {
    const old = before[place];
    if (!old) parent.append(made(item));
    else if (!same(old, item)) changed(old, item);
  });
  for (const rest of before.slice(items.length)) rest.remove();
}

function same(old, item) {
  return typeof item === "string" ? old.nodeType === 3 && old.data === item : old.says === JSON.stringify(item);
}

function changed(old, item) {
  const alike = typeof item !== "string" && old.item && !SHAPES[item.tag] && bare(old.item) === bare(item);
  if (alike) {
    filled(old, item.children);
    remember(old, item);
    return;
  }
  const after = made(item);
  old.replaceWith(after);
  if (typeof item !== "string" && SHAPES[item.tag] && old.item?.tag === item.tag) taken(old, after);
}

const bare = (item) => JSON.stringify({ ...item, children: 0 });

function remember(node, item) {
  node.item = item;
  node.says = JSON.stringify(item);
  return node;
}

function made(item) {
  if (typeof item === "string") return document.createTextNode(item);
  return remember(Object.hasOwn(SHAPES, item.tag) ? SHAPES[item.tag](item, made) : make(item), item);
}

// Streamlit puts boxes between its menu's list and the items, which is no list: to who listens it is links, then.
function mendMenu() {
  for (const list of document.querySelectorAll('[data-testid="stSidebarNavItems"]')) {
    for (const part of [list, ...list.querySelectorAll("li")]) part.setAttribute("role", "presentation");
  }
}

function make(item) {
  const node = document.createElement(TAGS.has(item.tag) ? item.tag : "span");
  if (item.look) node.className = item.look;
  if (item.title) node.title = item.title;
  if (item.tag === "a" && /^\/(?!\/)[a-z0-9/]*(\?[\w=&%.-]*)?$/.test(item.href || "")) {
    node.href = item.href;
    node.target = "_self";
  }
  if (item.tag === "a" && /^https?:\/\/[^\s"'<>\\]+$/i.test(item.outside || "")) {
    node.href = item.outside;
    node.target = "_blank";
    node.rel = "noopener noreferrer";
  }
  if (item.tag === "button") {
    node.type = "button";
    node.onclick = () => copy(item.copy || "", node);
  }
  node.append(...item.children.map(made));
  return node;
}

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = before; }, 1500);
}

function isDark(root) {
  const [r, g, b] = (getComputedStyle(root).color.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
  return r + g + b > 380;
}
