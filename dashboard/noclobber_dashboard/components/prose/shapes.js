// How ages, tables and plots are drawn from a few numbers. Every text by textContent; a place is a number.

const element = (tag, look = "", text = "") => {
  const made = document.createElement(tag);
  if (look) made.className = look;
  if (text !== "") made.textContent = text;
  return made;
};
const percent = (value) => `${Math.max(0, Math.min(100, Number(value) || 0))}%`;

// The same words as `wording.age`; `skew` is how far this clock is ahead of the server's.
function age(at, skew) {
  if (at <= 0) return "never";
  const seconds = Math.floor((Date.now() - skew - at) / 1000);
  for (const [limit, unit, size] of [[90, "s", 1], [5400, "min", 60], [172800, "h", 3600]])
    if (seconds < limit) return seconds < 5 ? "just now" : `${Math.round(seconds / size)} ${unit} ago`;
  return `${Math.floor(seconds / 86400)} days ago`;
}

function ages(root) {
  for (const made of root.querySelectorAll("time")) {
    const words = age(Number(made.dataset.at), root.skew || 0);
    if (made.textContent !== words) made.textContent = words;
  }
}

const SHAPES = {
  time(item) {
    const made = element("time");
    made.dataset.at = Number(item.at);
    if (item.at > 0) made.title = `${new Date(item.at).toISOString().replace("T", " ").slice(0, 19)} UTC`;
    return made;
  },

  table(item, make) {
    const made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
    item.columns.forEach(([name, look, says], place) => {
      const cell = head.appendChild(element("th", look));
      const button = cell.appendChild(element("button", "sort", name));
      if (says) cell.title = says;
      button.onclick = () => sorted(made, place, made.sort?.[0] === place ? -made.sort[1] : look === "" ? 1 : -1);
    });
    for (const row of item.rows) {
      const line = body.insertRow();
      row.forEach((cell, place) => line.append(written(cell, item.columns[place][1], make)));
    }
    return region(made, item.alt, "rows");
  },

  dots(item) {
    const made = element("div", "dots");
    item.lanes.forEach((name, place) => {
      const label = made.appendChild(element("span", "lane", name)), track = made.appendChild(element("div", "track"));
      label.title = name;
      for (const [lane, left, wide, look, says] of item.points) {
        if (lane !== place) continue;
        const line = track.appendChild(element("i", look));
        line.style.left = percent(left);
        line.style.width = percent(wide);
        line.title = says;
      }
    });
    const axis = made.appendChild(element("div", "axis"));
    for (const [left, text] of item.ticks) axis.appendChild(element("span", "", text)).style.left = percent(left);
    return picture(made, item.alt);
  },

  bars(item) {
    const made = element("div", "stacks"), most = Math.max(1, item.most);
    if (item.most) made.append(element("span", "most", item.most.toLocaleString("en")));
    for (const [says, label, parts] of item.columns) {
      const column = made.appendChild(element("div", "stack"));
      column.title = says;
      const stack = column.appendChild(element("div", "parts"));
      for (const [look, count] of parts) {
        const part = element("i", look);
        part.style.height = percent((100 * count) / most);
        stack.prepend(part);
      }
      column.append(element("span", "below", label));
    }
    return picture(made, item.alt);
  },
};

function written(cell, look, make) {
  const made = element("td", look);
  if (cell === null) return made;
  if (look === "share") {
    made.append(element("span", "", `${cell} %`));
    made.appendChild(element("i", "whole")).appendChild(element("i")).style.width = percent(cell);
  } else if (typeof cell === "number") {
    made.textContent = cell.toLocaleString("en");
  } else {
    made.append(typeof cell === "string" ? document.createTextNode(cell) : make(cell));
    if (typeof cell === "string") made.title = cell;
  }
  if (typeof cell === "number") made.dataset.by = cell;
  else if (cell.tag === "time") made.dataset.by = cell.at;
  return made;
}

function sorted(table, place, way) {
  const body = table.tBodies[0];
  const key = (row) => row.cells[place].dataset.by ?? row.cells[place].textContent;
  const compare = (a, b) => (isFinite(a) && isFinite(b) && a !== "" && b !== "" ? a - b : String(a).localeCompare(b));
  body.append(...[...body.rows].sort((a, b) => way * compare(key(a), key(b))));
  table.sort = [place, way];
  [...table.tHead.rows[0].cells].forEach((cell, at) => {
    cell.ariaSort = at !== place ? null : way > 0 ? "ascending" : "descending";
  });
}

function picture(made, alt) {
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", alt);
  return made;
}

function region(made, alt, look) {
  const around = element("div", look);
  around.tabIndex = 0;
  around.setAttribute("role", "region");
  around.setAttribute("aria-label", alt);
  around.append(made);
  return around;
}

// What a person did to a table or a list survives its being drawn anew: its place and its order.
function taken(before, after) {
  const [from, to] = [before, after].map((each) => each.querySelector?.("table"));
  if (from?.sort && to) sorted(to, ...from.sort);
  requestAnimationFrame(() => { after.scrollTop = before.scrollTop; after.scrollLeft = before.scrollLeft; });
  [after.scrollTop, after.scrollLeft] = [before.scrollTop, before.scrollLeft];
}
