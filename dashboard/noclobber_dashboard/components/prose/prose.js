// Builds elements from data. Only these tags, only our own paths and addresses of the operator's, every text by
// textContent.

const TAGS = new Set(["div", "span", "p", "h1", "h2", "h3", "code", "b", "ul", "li", "a", "button", "pre", "dl", "dt", "dd"]);

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".prose");
  if (!root || !data) return;
  root.classList.toggle("dark", isDark(root));
  root.replaceChildren(...data.nodes.map(make));
  mendMenu();
}

// Streamlit puts boxes between its menu's list and the items, which is no list: to who listens it is links, then.
function mendMenu() {
  for (const list of document.querySelectorAll('[data-testid="stSidebarNavItems"]')) {
    for (const part of [list, ...list.querySelectorAll("li")]) part.setAttribute("role", "presentation");
  }
}

function make(item) {
  const made = document.createElement(TAGS.has(item.tag) ? item.tag : "span");
  if (item.look) made.className = item.look;
  if (item.title) made.title = item.title;
  if (item.tag === "a" && /^\/(?!\/)[a-z0-9/]*(\?[\w=&%.-]*)?$/.test(item.href || "")) {
    made.href = item.href;
    made.target = "_self";
  }
  if (item.tag === "a" && /^https?:\/\/[^\s"'<>\\]+$/i.test(item.outside || "")) {
    made.href = item.outside;
    made.target = "_blank";
    made.rel = "noopener noreferrer";
  }
  if (item.tag === "button") {
    made.type = "button";
    made.onclick = () => copy(item.copy || "", made);
  }
  for (const child of item.children) made.append(typeof child === "string" ? document.createTextNode(child) : make(child));
  return made;
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
