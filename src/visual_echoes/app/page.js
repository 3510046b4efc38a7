// What the page shows of a job without asking the server: its tokens step by step, and where its sound is.
(() => {
  const within = (id, what) => document.getElementById(id)?.querySelectorAll(what) ?? [];

  // Token films: all steps lie below one another in one image, of which one is to be seen.
  const replay = (id, step) => {
    for (const film of within(id, ".film[data-known]")) {
      const known = film.dataset.known.split(",");
      film.style.setProperty("--step", Math.min(step, known.length) - 1);
      const said = film.closest(".card")?.querySelector(".known");
      if (said) said.textContent = known[Math.min(step, known.length) - 1];
    }
  };

  // Players: what they have played moves the playhead of the plot beside them, and a click on the plot moves them.
  const show = (player) => player.closest(".card")?.style.setProperty("--played", player.currentTime / player.duration || 0);
  const follow = (player) => { show(player); if (!player.paused) requestAnimationFrame(() => follow(player)); };
  document.addEventListener("play", (event) => follow(event.target), true);
  for (const kind of ["seeked", "timeupdate", "ended"]) {
    document.addEventListener(kind, (event) => show(event.target), true);
  }
  document.addEventListener("click", (event) => {
    const over = event.target instanceof Element ? event.target.closest(".over") : null;
    const player = over?.closest(".card")?.querySelector("audio, video");
    if (!player?.duration) return;
    const box = over.getBoundingClientRect();
    player.currentTime = player.duration * (event.clientX - box.left) / box.width;
  });

  // The address: what is not as it is by itself, so that whoever opens it finds the same settings.
  // Until the page has read it, what the widgets report is not what was asked for.
  let kept = false;
  const keepAddress = () => { kept = true; document.body.dataset.opened = ""; };
  const address = (changes) => {
    if (!kept) return;
    const query = new URLSearchParams(location.search);
    for (const [name, value] of changes) {
      if (value === null) query.delete(name); else query.set(name, value);
    }
    const text = query.toString();
    history.replaceState(history.state, "", text ? `?${text}` : location.pathname);
  };
  const remember = (names, plain, mine, values) => {
    const own = values[3] === mine;
    address(names.map((name, place) => {
      const told = place < plain.length ? values[place] !== plain[place] && values[place] !== mine : own;
      return [name, told ? values[place] : null];
    }));
  };
  const turn = (tab, first) => address([["tab", tab === first ? null : tab]]);

  window.echoes = { replay, remember, turn, keepAddress };
})();
