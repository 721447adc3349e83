// Everything works without this file. It adds themes, exact times, copy buttons, single keys, and an overview that
// looks for itself.
"use strict";
(() => {
  const root = document.documentElement
  const one = (what, where = document) => where.querySelector(what)
  const all = (what, where = document) => [...where.querySelectorAll(what)]
  const kept = name => { try { return localStorage.getItem(name) } catch { return null } }
  const keep = (name, value) => { try { localStorage.setItem(name, value) } catch { /* it counts for this page */ } }

  root.classList.add("js")
  const wear = theme => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme
    else delete root.dataset.theme
  }
  const exact = on => root.classList.toggle("exact", on)
  wear(kept("theme"))
  exact(kept("exact") === "1")

  const say = text => { const live = one("#live"); if (live) live.textContent = text }

  async function copy(button) {
    const code = one("code", button.parentNode)
    const lines = all(".line", code).map(line => all("span", line).map(word => word.textContent).join(" "))
    try {
      await navigator.clipboard.writeText(lines.join("\n"))
      button.textContent = "Copied"
    } catch {
      getSelection().selectAllChildren(code)
      button.textContent = "Press Ctrl C"
    }
    say(button.textContent)
    setTimeout(() => { button.textContent = "Copy" }, 1500)
  }

  // The overview asks again while somebody sees it and does nothing with it. XMLHttpRequest parses what comes; nothing
  // here makes HTML from text.
  let tag = null
  function look() {
    const main = one("main[data-again]")
    if (!main || document.hidden || !getSelection().isCollapsed) return
    if (document.activeElement && document.activeElement !== document.body) return
    if (one("details[open]", main)) return
    const ask = new XMLHttpRequest()
    ask.open("GET", location.href)
    ask.responseType = "document"
    if (tag) ask.setRequestHeader("If-None-Match", tag)
    ask.onload = () => {
      const fresh = ask.status === 200 && ask.response && one("main[data-again]", ask.response)
      if (!fresh || document.activeElement !== document.body) return
      tag = ask.getResponseHeader("ETag")
      const asOf = one("#as-of", ask.response)
      if (asOf) one("#as-of")?.replaceWith(document.adoptNode(asOf))
      const before = one("[data-verdict]", main)?.textContent, now = one("[data-verdict]", fresh)?.textContent
      main.replaceWith(document.adoptNode(fresh))
      document.title = ask.response.title
      if (before !== now) say(now)
    }
    ask.send()
  }

  addEventListener("DOMContentLoaded", () => {
    const theme = one("#theme"), exactBox = one("#exact"), keysBox = one("#keys"), help = one("#help")
    if (theme) {
      theme.value = kept("theme") || "system"
      theme.addEventListener("change", () => { keep("theme", theme.value); wear(theme.value) })
    }
    const turn = on => {
      exact(on)
      keep("exact", on ? "1" : "0")
      if (exactBox) exactBox.checked = on
      say(on ? "Times are exact now, in UTC" : "Times are relative now")
    }
    if (exactBox) {
      exactBox.checked = root.classList.contains("exact")
      exactBox.addEventListener("change", () => turn(exactBox.checked))
    }
    if (keysBox) {
      keysBox.checked = kept("keys") !== "0"
      keysBox.addEventListener("change", () => keep("keys", keysBox.checked ? "1" : "0"))
    }
    one("#help-open")?.addEventListener("click", () => help.showModal())
    if (one("main[data-again]")) setInterval(look, 1000 * one("main[data-again]").dataset.again)

    addEventListener("click", e => {
      if (e.target.matches?.(".copy")) copy(e.target)
      for (const menu of all("details.menu[open]")) if (!menu.contains(e.target)) menu.open = false
    })

    let awaited = 0 // until when a page's letter may follow g
    const press = {
      "/": () => (one(".search input") || one(".seek input"))?.focus(),
      j: () => step(1),
      k: () => step(-1),
      n: () => one("a[rel=next]")?.click(),
      p: () => one("a[rel=prev]")?.click(),
      g: () => { awaited = Date.now() + 1200 },
      t: () => turn(!root.classList.contains("exact")),
      "?": () => help?.showModal(),
    }
    const step = by => {
      const rows = all("[data-rows] tbody th a")
      if (rows.length === 0) return
      const at = rows.indexOf(document.activeElement)
      rows[Math.max(0, Math.min(rows.length - 1, at + by))].focus()
    }
    addEventListener("keydown", e => {
      const at = e.target
      if (e.key === "Escape") {
        const menu = at.closest?.("details.menu[open]")
        if (menu) {
          menu.open = false
          one("summary", menu).focus()
        } else if (at.matches?.("input")) at.blur()
        return
      }
      const typing = at.matches?.("input:not([type=checkbox]), select, textarea")
      if (e.ctrlKey || e.metaKey || e.altKey || typing || help?.open || kept("keys") === "0") return
      if (awaited > Date.now() && "ohr".includes(e.key)) {
        awaited = 0
        one(`[data-go="${e.key}"]`)?.click()
        return
      }
      awaited = 0
      if (!Object.hasOwn(press, e.key)) return
      press[e.key]()
      e.preventDefault()
    })
  })
})()
