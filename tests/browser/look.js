// What the browser tests ask of a page; evaluated in it after it has loaded.
window.look = {
  sliders: () => [...document.querySelectorAll('.mm-frames')],
  input: (i) => look.sliders()[i].querySelector('input'),
  frames: (i) => [...look.sliders()[i].querySelectorAll('.mm-frame')],

  // which frame of a slider is visible, and what its label says
  state: (i) => ({
    visible: look.frames(i).map((e, k) => (e.offsetHeight > 0 ? k : -1)).filter((k) => k >= 0),
    value: Number(look.input(i).value),
    frames: look.frames(i).length,
    said: look.input(i).getAttribute('aria-valuetext'),
    written: look.sliders()[i].querySelector('output').textContent,
    labels: look.frames(i).map((e) => e.dataset.label),
  }),

  // where an element stands on the page
  place: (e) => {
    e.scrollIntoView({ block: 'center' });
    const r = e.getBoundingClientRect();
    return { x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, left: r.x, top: r.y };
  },
  box: (i) => look.place(look.frames(i).find((e) => e.offsetHeight > 0)),

  // contrast of the ink of figures, captions, labels and claims with what is behind them
  contrasts: () => {
    const rgb = (c) => c.match(/[\d.]+/g).map(Number);
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const luminance = (c) => rgb(c).slice(0, 3).reduce((s, v, i) => s + linear(v / 255) * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (e) => {
      for (; e; e = e.parentElement) {
        const colour = getComputedStyle(e).backgroundColor;
        if (rgb(colour).length < 4 || rgb(colour)[3] > 0) return colour;
      }
      return 'rgb(255, 255, 255)';
    };
    return [...document.querySelectorAll('.mm-figure svg, .mm-figure figcaption, .mm-frames label, .mm-claim, .mm-claim .mm-shown, .mm-claim code, .mm-how a')]
      .filter((e) => e.getClientRects().length)
      .map((e) => {
        const [dark, light] = [luminance(getComputedStyle(e).color), luminance(behind(e))].sort((a, b) => a - b);
        return (light + 0.05) / (dark + 0.05);
      });
  },

  // figures that reach beyond the window, but for wide ones in a box of their own that scrolls
  tooWide: () =>
    [...document.querySelectorAll('article .mm-figure svg')].filter((e) => {
      const box = e.classList.contains('mm-wide') ? e.closest('.output') : null;
      const scrolls = box && getComputedStyle(box).overflowX === 'auto' && box.getBoundingClientRect().right <= innerWidth + 1;
      return e.getBoundingClientRect().right > innerWidth + 1 && !scrolls;
    }).length,

  // boxes that scroll sideways and cannot be reached by keyboard
  unreached: () =>
    [...document.querySelectorAll('article .cell_output > .output')].filter((e) => e.scrollWidth > e.clientWidth + 1 && e.tabIndex !== 0).length,
};
