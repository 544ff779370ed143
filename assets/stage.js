// The first view: a photo, the network layer by layer, its answer, and a rail along which the network is compressed.
// Everything that depends on the place on the rail is here already, so that moving along it waits for no server.
const config = JSON.parse(props.config);
const $ = (name) => element.querySelector(name);
const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === 'text') made.textContent = value;
    else if (value !== null && value !== false) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
};
const percent = (share) => (share < 0.0995 ? (100 * share).toFixed(1) : Math.round(100 * share)) + ' %';
// Requests can reach the server in another order than the clicks and moves that sent them: each has its number.
let clicks = 0, moves = 0;
const clicked = () => { window.lowrankClicks = ++clicks; return clicks; };
const state = { family: '', scheme: '', place: 0, answers: {}, known: new Set(config.ready), downloading: new Set(), failed: {} };

const path = () => config.paths[state.family][state.scheme];
const cut = () => path()[state.place];
// A network is here if the weights that it is cut from are.
const isReady = ({ id }) => state.known.has(id.split('@')[0]);
// A cut that was chosen elsewhere takes its place on the rail.
const findCut = ({ id, cut: chosen }) => {
  if (chosen) {
    const [family, scheme] = id.split('/'), cuts = config.paths[family][scheme];
    if (!cuts.some((one) => one.id === id)) cuts.push({ ...chosen, added: true });
    cuts.sort((a, b) => b.at - a.at);
  }
  for (const [family, schemes] of Object.entries(config.paths)) {
    for (const [scheme, cuts] of Object.entries(schemes)) {
      const place = cuts.findIndex((one) => one.id === id);
      if (place >= 0) return { family, scheme, place };
    }
  }
  return null;
};
const size = (macs) => Math.log(Math.max(macs, 1)); // a cut may have none
const saves = (one) => `${one.mflops} MFLOPs` + (one.fewer ? `, ${one.fewer}× fewer than ${config.reference.name}` : '');
// The rail's axis is the logarithm of the MACs, from a scheme's first published network to the path's last cut.
const along = (one) => {
  const place = ({ at }) => size(at), every = [...config.stops[state.scheme], ...path()].map(place);
  const most = Math.max(...every), least = Math.min(...every);
  return (most - place(one)) / (most - least);
};

const radios = (place, name, options, chosen, choose) => {
  const box = $(place + ' > div'), focused = box.contains(document.activeElement);
  box.replaceChildren(...options.map(([value, text, title]) => {
    const input = make('input', { type: 'radio', name, value, checked: value === chosen });
    input.addEventListener('change', () => choose(value));
    return make('label', { title: title || null }, input, make('span', { text }));
  }));
  if (focused) box.querySelector('input:checked').focus();
};

const chooseFamily = (family) => {
  const paths = config.paths[family];
  const scheme = paths[state.scheme].length ? state.scheme : Object.keys(paths).find((one) => paths[one].length);
  go({ family, scheme, place: nearest(paths[scheme], cut().at, true) });
};
const drawChoices = () => {
  const families = Object.keys(config.paths).map((family) => [family, ...config.families[family]]);
  radios('.st-family', 'st-family', families, state.family, chooseFamily);
  const schemes = Object.keys(config.paths[state.family]).filter((scheme) => config.paths[state.family][scheme].length);
  radios('.st-scheme', 'st-scheme', schemes.map((scheme) => [scheme, ...config.schemes[scheme]]), state.scheme,
    (scheme) => go({ scheme, place: nearest(config.paths[state.family][scheme], cut().at, true) }));
};
// A family or scheme is entered at a version that is ready, if it has one.
const nearest = (cuts, at, ready = false) => {
  const some = ready && cuts.some(isReady);
  let best = 0;
  cuts.forEach((one, place) => {
    const better = Math.abs(size(one.at) - size(at)) < Math.abs(size(cuts[best].at) - size(at));
    if (some ? isReady(one) && (better || !isReady(cuts[best])) : better) best = place;
  });
  return best;
};

const drawBlocks = () => {
  const box = $('.st-blocks');
  box.replaceChildren(...config.layers.map((layer, number) => {
    const button = make('button', { type: 'button', class: 'st-block' },
      make('b', { text: layer.name }), make('span', { class: 'st-fill' }, make('i'), make('em')),
      make('small', { class: 'st-rank' }), make('span', { class: 'st-share' }, make('i')), make('small', { class: 'st-macs' }));
    const tell = () => { state.layer = number; drawDetail(); };
    button.addEventListener('mouseenter', tell);
    button.addEventListener('focus', tell);
    button.addEventListener('click', () => {
      trigger('select', { layer: number });
      showRanks();
    });
    return button;
  }));
};
const shapes = (layer, rank) => {
  const k = layer.kernel;
  if (layer.kind === 'linear') return [`${rank} × ${layer.inputs}`, `${layer.outputs} × ${rank}`];
  if (state.scheme === 'scheme_1') return [`${rank} × ${layer.inputs} × ${k} × ${k}`, `${layer.outputs} × ${rank} × 1 × 1`];
  return [`${rank} × ${layer.inputs} × 1 × ${k}`, `${layer.outputs} × ${rank} × ${k} × 1`];
};
// The layer is marked in a figure of the Ranks tab. The pictures above it come later and push it down, so this follows
// the figure until shortly after they have come, unless the visitor does something.
const showRanks = () => {
  let until = Date.now() + 15000;
  const own = new AbortController();
  for (const kind of ['wheel', 'touchstart', 'keydown', 'pointerdown']) window.addEventListener(kind, () => own.abort(), { signal: own.signal, passive: true });
  let height = 0, place = 0;
  const follow = () => {
    const { scrollHeight } = document.documentElement;
    if (height === scrollHeight && Math.abs(window.scrollY - place) > 2) own.abort(); // somebody else scrolled
    if (own.signal.aborted) return;
    const figure = document.querySelector('#lr-ranks-plot .js-plotly-plot');
    if (figure && figure.offsetParent) figure.scrollIntoView({ block: 'center' });
    if (document.querySelector('#lr-conv1 :is(img, p)')) until = Math.min(until, Date.now() + 1500);
    height = scrollHeight;
    place = window.scrollY;
    if (Date.now() > until) own.abort(); else setTimeout(follow, 100);
  };
  follow();
};
const drawDetail = () => {
  const number = state.layer ?? 1;
  const layer = config.layers[number], one = cut();
  const [v, u] = shapes(layer, one.ranks[number]);
  $('.st-detail').textContent = `${layer.name}: rank ${one.ranks[number]} of ${layer.full[state.scheme]}. V is ${v}, U is ${u}; `
    + `${one.macs[number].toFixed(1)} of the network's ${one.mflops} MFLOPs.`;
};
const drawNetwork = () => {
  const one = cut(), total = one.macs.reduce((sum, macs) => sum + macs, 0) || 1;
  element.querySelectorAll('.st-block').forEach((block, number) => {
    const layer = config.layers[number], rank = one.ranks[number], full = layer.full[state.scheme];
    const share = one.macs[number] / total;
    block.querySelector('.st-fill i').style.height = Math.max(1, 100 * rank / full) + '%';
    block.querySelector('.st-fill em').textContent = percent(rank / full);
    block.querySelector('.st-rank').replaceChildren(make('span', { text: 'rank ' }), String(rank));
    block.querySelector('.st-share i').style.width = 100 * share + '%';
    block.querySelector('.st-macs').replaceChildren(percent(share), make('span', { text: ' of MFLOPs' }));
    block.setAttribute('aria-label', `${layer.name}: rank ${rank} of ${full}, ${percent(share)} of the MFLOPs; opens Ranks`);
  });
  drawDetail();
};

const press = (text, act, disabled = false) => {
  const button = make('button', { type: 'button', class: 'st-act', text, disabled });
  button.addEventListener('click', act);
  return button;
};
// The last answer stays, dimmed, above the choice between a download and the weights that are here.
const offerDownload = (one) => {
  const other = Object.keys(config.paths).find((family) => family !== state.family
    && Object.values(config.paths[family]).flat().some(isReady));
  const wait = state.downloading.has(one.id);
  const download = press(wait ? 'Downloading…' : `Download ${one.megabytes} MB`, () => {
    state.downloading.add(one.id);
    delete state.failed[one.id];
    state.asked = '';
    drawAnswer();
    trigger('submit', { model: one.id });
  }, wait);
  const back = other && press(`Use the ${config.families[other][0]} weights`, () => chooseFamily(other));
  $('.st-sure').textContent = (state.failed[one.id] || 'These weights are not downloaded yet.')
    + ($('.st-top').children.length ? ` Last answer, of ${state.last}:` : '');
  $('.st-note').replaceChildren(...[download, back].filter(Boolean));
};
let waiting = 0;
const LONGEST = 60_000; // no answer is waited for longer, in milliseconds
// One request brings the answers of a whole family; a cut that was added has one of its own.
const asks = (one) => (one.added ? one.id : state.family);
const ask = (one) => {
  const what = asks(one);
  state.asked = what;
  // A busy server may have refused the photo as a whole.
  trigger('input', { model: one.id, whole: !$('.st-drop img').hasAttribute('src') });
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (state.asked !== what || state.refused || state.answers[one.id]) return;
    state.refused = { text: 'No answer came.', again: true, of: what };
    drawAnswer();
  }, LONGEST);
};
const drawAnswer = () => {
  const one = cut(), top = state.answers[one.id], list = $('.st-top');
  list.classList.toggle('st-old', !top || state.late);
  if (state.late) {
    $('.st-sure').textContent = 'Answering your photo…';
    return;
  }
  if (!top && !isReady(one)) {
    offerDownload(one);
    return;
  }
  if (!top) {
    const { text = '', again = false, of = '' } = state.refused || {};
    const refused = state.refused && (!of || of === asks(one));
    list.replaceChildren();
    if (!refused && state.asked !== asks(one) && $('.st').dataset.ready === 'true') ask(one);
    $('.st-sure').textContent = refused ? '' : 'Answering…';
    $('.st-note').replaceChildren(refused ? text + ' ' : '');
    if (refused && again) $('.st-note').append(press('Try again', () => { state.refused = null; state.asked = ''; drawAnswer(); }));
    return;
  }
  state.last = one.title;
  if (list.children.length !== top[0].length) {
    list.replaceChildren(...top[0].map(() => make('li', {}, make('span', { class: 'st-name' }), make('span', { class: 'st-value' }), make('i'))));
  }
  top[0].forEach((label, row) => {
    const line = list.children[row], share = top[1][row];
    line.children[0].textContent = config.names[label];
    line.children[1].textContent = percent(share);
    line.children[2].style.width = Math.max(0.4, 100 * share) + '%';
  });
  const best = top[1][0];
  $('.st-sure').textContent = best >= 0.7 ? 'Sure' : best >= 0.35 ? 'Fairly sure' : best >= 0.15 ? 'Unsure' : 'A guess among a thousand';
  $('.st-note').textContent = one.about;
};

// What choosing each family would show: its network that is nearest to this one.
const drawFamilies = () => Object.keys(config.paths).forEach((family, number) => {
  const cuts = config.paths[family][state.scheme];
  if (!cuts.length) return;
  const one = family === state.family ? cut() : cuts[nearest(cuts, cut().at, true)];
  $('.st-family').querySelectorAll('label span')[number].textContent =
    config.families[family][0] + (isReady(one) ? ', ready' : `, ${one.megabytes} MB`);
});

const drawTitle = () => {
  const one = cut();
  const parts = [one.lambda && `λ ${one.lambda}`, saves(one), one.error];
  for (const place of [$('.st-title'), document.querySelector('.lr-summary')]) {
    if (place) place.replaceChildren(make('b', { text: one.title }), make('span', { text: parts.filter(Boolean).join(' · ') }));
  }
};

const SVG = 'http://www.w3.org/2000/svg';
const shape = (tag, attributes, text) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
};
const drawPlot = () => {
  const svg = $('.st-plot svg'), width = 300, height = 176, left = 34, right = 10, top = 12, bottom = 30;
  svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  const lines = config.errors;
  const points = [...Object.values(lines.series).flat(), ...(lines.reference ? [lines.reference] : [])];
  const xs = points.concat(path()).map((one) => one.mflops);
  const least = size(Math.min(...xs, 140)), most = Math.log(1.05 * Math.max(...xs));
  const ys = points.map((point) => point.error), spread = Math.max(...ys) - Math.min(...ys);
  // Cuts far below the last version err always: their part of the line is beyond the upper edge.
  const far = Object.values(lines.lines).flat().some(([, error]) => error > Math.max(...ys) + 1);
  const low = Math.floor(Math.min(...ys) - 1), high = Math.ceil(Math.max(...ys) + 1 + (far ? spread : 0));
  const xOf = (mflops) => left + (width - left - right) * (size(mflops) - least) / (most - least);
  const yOf = (error) => top + (height - top - bottom) * (high - error) / (high - low);
  const inside = shape('clipPath', { id: 'st-inside' });
  inside.append(shape('rect', { x: left, y: top, width: width - left - right, height: height - top - bottom }));
  const shown = [inside];
  for (let tick = Math.ceil(low / 2) * 2; tick <= high; tick += Math.max(2, Math.round((high - low) / 8) * 2)) {
    shown.push(shape('line', { x1: left, x2: width - right, y1: yOf(tick), y2: yOf(tick), class: 'grid' }),
      shape('text', { x: left - 5, y: yOf(tick) + 3, 'text-anchor': 'end' }, String(tick)));
  }
  for (const tick of [75, 100, 150, 200, 300, 400, 700]) {
    if (Math.log(tick) > most + 0.01 || Math.log(tick) < least) continue;
    shown.push(shape('text', { x: xOf(tick), y: height - 16, 'text-anchor': 'middle' }, String(tick)));
  }
  shown.push(shape('text', { x: (left + width - right) / 2, y: height - 3, 'text-anchor': 'middle' }, 'MFLOPs'));
  for (const [scheme, some] of Object.entries(lines.series)) {
    const line = lines.lines[scheme]?.length ? lines.lines[scheme] : some.map((one) => [one.mflops, one.error]);
    shown.push(shape('polyline', { points: line.filter(([mflops]) => Math.log(mflops) >= least).map(([mflops, error]) => `${xOf(mflops)},${yOf(error)}`).join(' '), class: scheme + (scheme === state.scheme ? ' on' : ''), 'clip-path': 'url(#st-inside)' }));
    for (const one of some) {
      const dot = shape('circle', { cx: xOf(one.mflops), cy: yOf(one.error), r: 3.2, class: scheme + (scheme === state.scheme ? ' on' : '') });
      dot.append(shape('title', {}, `${one.title}: ${one.mflops} MFLOPs, ${one.error} %`));
      shown.push(dot);
    }
  }
  if (lines.reference) {
    const { mflops, error, title } = lines.reference;
    shown.push(shape('rect', { x: xOf(mflops) - 4, y: yOf(error) - 4, width: 8, height: 8, class: 'reference' }));
    shown.push(shape('text', { x: xOf(mflops) + 4, y: yOf(error) - 8, 'text-anchor': 'end', class: 'label' }, title));
  }
  const one = cut(), x = xOf(one.mflops), some = lines.series[state.scheme] || [];
  const error = some.find((point) => point.title === one.title)?.error ?? (state.family === lines.family ? one.top1 : null);
  shown.push(shape('line', { x1: x, x2: x, y1: top, y2: height - bottom, class: 'here' }));
  // Far below the last version the error is above the axis: the ring stays at its top.
  if (error > high) shown.push(shape('text', { x: x + 10, y: top + 11, class: 'label' }, `↑ ${error.toFixed(1)} %`));
  if (error != null) shown.push(shape('circle', { cx: x, cy: error > high ? top + 7 : yOf(error), r: 6.5, class: 'chosen' }));
  svg.replaceChildren(...shown);
  $('.st-plot p').textContent = lines.title;
};

const drawRail = () => {
  const cuts = path(), range = $('#st-range');
  range.min = 0; range.max = 1; range.value = along(cut());
  range.setAttribute('aria-valuetext', `${cut().title}, ${cut().mflops} MFLOPs`);
  element.querySelectorAll('.st-stops button').forEach((button) => {
    button.classList.toggle('st-here', cuts[state.place].version === button.dataset.version);
  });
};
const drawStops = () => {
  const cuts = path(), published = config.stops[state.scheme];
  const own = cuts.filter((one) => one.version && !published.some((stop) => stop.version === one.version));
  $('.st-stops').replaceChildren(...[...published, ...own.map((one) => ({ ...one, error: '', price: '' }))].map((stop) => {
    const here = cuts.findIndex((one) => one.version === stop.version);
    // The published error belongs to the authors' weights alone.
    const error = cuts[here]?.top1?.toFixed(1) ?? (cuts[here]?.published === false ? '' : stop.error);
    const stated = here < 0 ? stop.error && `published top-1 error ${stop.error} %` : error && cuts[here].error;
    const button = make('button', {
      type: 'button', style: `left:${100 * along(stop)}%`, class: here < 0 ? 'st-away' : null, 'data-version': stop.version,
      disabled: here < 0, title: here < 0 ? 'Not among these weights' : null,
      'aria-label': [`${stop.version}: ${stop.mflops} MFLOPs`, stop.lambda && `λ ${stop.lambda}`, stated].filter(Boolean).join(', '),
    }, make('b', { text: stop.version }), make('small', { text: stop.mflops }), make('small', { text: stop.price }),
    make('small', { text: error }));
    // Where stops overlap, a click chooses the one whose middle is nearest.
    button.addEventListener('click', (event) => {
      const middle = (one) => { const { left, width } = one.getBoundingClientRect(); return left + width / 2; };
      const near = !event.detail ? button : [...element.querySelectorAll('.st-stops button:enabled')]
        .sort((a, b) => Math.abs(middle(a) - event.clientX) - Math.abs(middle(b) - event.clientX))[0];
      go({ place: cuts.findIndex((one) => one.version === near.dataset.version) });
    });
    return button;
  }));
  thin();
};
// Figures under a stop are left out where those of its neighbour would cover them.
const thin = () => {
  let last = -Infinity;
  element.querySelectorAll('.st-stops button').forEach((button) => {
    const place = button.offsetLeft;
    button.classList.toggle('st-tight', place - last < 26);
    if (place - last >= 26) last = place;
  });
};
new ResizeObserver(thin).observe($('.st-stops'));

let told = '', timer = 0;
const draw = () => {
  drawNetwork(); drawAnswer(); drawFamilies(); drawTitle(); drawPlot(); drawRail();
  const { id } = cut();
  clearTimeout(timer);
  if (id !== told) timer = setTimeout(() => { told = id; trigger('release', { model: id, move: ++moves }); }, 200);
};
const go = (change) => {
  const before = state.family + state.scheme;
  Object.assign(state, change);
  if (before !== state.family + state.scheme) { drawChoices(); drawStops(); }
  draw();
};

const range = () => {
  const input = $('#st-range');
  input.addEventListener('input', () => {
    const wanted = Number(input.value), cuts = path();
    let best = 0;
    cuts.forEach((one, place) => { if (Math.abs(along(one) - wanted) < Math.abs(along(cuts[best]) - wanted)) best = place; });
    if (best !== state.place) go({ place: best });
  });
  input.addEventListener('change', drawRail);
  input.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 6, PageDown: -6, Home: -999, End: 999 }[event.key];
    if (!step) return;
    event.preventDefault();
    go({ place: Math.min(path().length - 1, Math.max(0, state.place + step)) });
  });
};

// Say so where an answer takes its time, such as that to the first large photo.
let timerOfPhoto = 0, toasts = 0;
const errors = () => document.querySelectorAll('.toast-body.error').length;
// Returns the number of this wish: an answer to an earlier one does not end the wait.
const expectPhoto = () => {
  clearTimeout(timerOfPhoto);
  toasts = errors();
  timerOfPhoto = setTimeout(() => {
    state.late = true;
    drawAnswer();
    timerOfPhoto = setTimeout(() => { endWait(); drawAnswer(); }, LONGEST);
  }, 300);
  return clicked();
};
const endWait = () => {
  clearTimeout(timerOfPhoto);
  state.late = false;
};
// An upload that is refused brings no answer, only Gradio's message.
document.addEventListener('lr-changed', () => {
  if (!state.late || errors() <= toasts) return;
  endWait();
  drawAnswer();
});
const remember = (example) => {
  const url = new URL(window.location);
  if (example) url.searchParams.set('photo', example); else url.searchParams.delete('photo');
  window.history.replaceState(null, '', url);
  window.lowrankAddress = url.href;
};

const showPhoto = () => {
  const value = JSON.parse(props.value || '{}');
  if (value.ready) state.known = new Set(value.ready);
  state.downloading.delete(value.downloaded);
  if (value.failed) state.failed[value.downloaded] = value.failed;
  if ((value.replace || value.unchanged) && value.click >= clicks) endWait();
  if (value.answers && (value.replace || value.photo === state.photo)) {
    state.answers = value.replace ? value.answers : { ...state.answers, ...value.answers };
    state.refused = value.refused ? { text: value.refused, again: value.again, of: value.replace ? '' : state.asked } : null;
    if (value.replace) {
      $('.st-top').replaceChildren();
      remember(value.example);
      state.asked = '';
      state.photo = value.photo;
      const picture = $('.st-drop img');
      if (value.picture) picture.src = value.picture; else picture.removeAttribute('src');
      picture.hidden = !value.picture;
      picture.alt = value.name ? 'The photo ' + value.name : '';
      $('figcaption').textContent = value.caption || '';
    }
    element.querySelector('.st').dataset.ready = 'true';
  }
  draw();
};

// The box is a second door to the upload that Gradio draws below.
const box = $('.st-drop');
const uploader = () => document.querySelector('#lr-photos input[type=file]');
const give = (files) => {
  const into = uploader();
  if (!into || !files.length) return;
  const carrier = new DataTransfer();
  for (const file of files) carrier.items.add(file);
  into.files = carrier.files;
  into.dispatchEvent(new Event('change', { bubbles: true }));
};
box.addEventListener('click', () => { const into = uploader(); if (into) into.click(); });
for (const kind of ['dragenter', 'dragover']) box.addEventListener(kind, (event) => { event.preventDefault(); box.classList.add('st-over'); });
for (const kind of ['dragleave', 'drop']) box.addEventListener(kind, () => box.classList.remove('st-over'));
box.addEventListener('drop', (event) => { event.preventDefault(); give(event.dataTransfer.files); });
// A photo that falls beside the boxes would replace the page.
for (const kind of ['dragover', 'drop']) document.addEventListener(kind, (event) => event.preventDefault());
// A click on one of the dropped photos shows it here.
document.addEventListener('click', ({ target }) => {
  const cell = target.closest('#lr-photos .grid-container > *');
  if (!cell || !target.closest('.thumbnail-item')) return;
  trigger('focus', { photo: [...cell.parentElement.children].indexOf(cell), click: expectPhoto() });
});
document.addEventListener('change', ({ target }) => { if (target.matches('#lr-photos input[type=file]') && target.files.length) expectPhoto(); }, true);
document.addEventListener('drop', ({ target, dataTransfer }) => {
  if (target.closest('#lr-photos') && dataTransfer && dataTransfer.files.length) expectPhoto();
}, true);
// Browsers cannot show every photo that is answered, such as HEIC: a grey picture in place of a broken one.
document.addEventListener('error', ({ target }) => {
  if (target.tagName !== 'IMG' || !target.closest('#lr-photos')) return;
  target.src = 'data:image/svg+xml,' + encodeURIComponent(
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><rect width="100" height="100" fill="#9ca3af"/>
    <text x="50" y="54" text-anchor="middle" font-family="sans-serif" font-size="11" fill="#111827">no preview</text></svg>`);
}, true);
$('.st-examples').replaceChildren(...config.examples.map(({ name, title, picture }, number) => {
  const button = make('button', { type: 'button', 'aria-label': 'Example photo ' + name, title }, make('img', { alt: '', src: picture }));
  button.addEventListener('click', () => trigger('click', { example: number, click: expectPhoto() }));
  return button;
}));

// Share: a picture of what is shown, and a link to the model. Where the browser cannot send them, it saves and copies them.
const postcard = async () => {
  const canvas = make('canvas', { width: 1200, height: 630 }), pen = canvas.getContext('2d'), one = cut();
  const write = (text, x, y, size, weight = 400, colour = '#1f2937') => {
    pen.font = `${weight} ${size}px system-ui, sans-serif`; pen.fillStyle = colour; pen.fillText(text, x, y, 1160 - x);
  };
  pen.fillStyle = 'white'; pen.fillRect(0, 0, 1200, 630);
  const picture = $('.st-drop img');
  // A picture that has just arrived is not decoded yet.
  if (picture.hasAttribute('src')) await picture.decode().then(() => pen.drawImage(picture, 40, 40, 430, 430), () => {});
  write(one.title, 510, 84, 40, 700);
  write([one.lambda && `λ ${one.lambda}`, saves(one)].filter(Boolean).join(' · '), 510, 126, 23, 400, '#4b5563');
  const [labels, shares] = state.answers[one.id] || [[], []];
  labels.forEach((label, row) => {
    write(config.names[label], 510, 190 + 62 * row, 28, row ? 400 : 700);
    write(percent(shares[row]), 1080, 190 + 62 * row, 28, row ? 400 : 700);
    pen.fillStyle = row ? '#93c5fd' : '#2563eb'; pen.fillRect(510, 202 + 62 * row, Math.max(3, 650 * shares[row]), 10);
  });
  config.layers.forEach((layer, number) => {
    const x = 40 + 140 * number, share = one.ranks[number] / layer.full[state.scheme];
    pen.fillStyle = '#e5e7eb'; pen.fillRect(x, 510, 128, 22);
    pen.fillStyle = '#2563eb'; pen.fillRect(x, 510, 128 * share, 22);
    write(`${layer.name}: rank ${one.ranks[number]}`, x, 558, 17);
  });
  write('Low-rank AlexNet · Idelbayev & Carreira-Perpiñán, CVPR 2020', 40, 604, 18, 400, '#4b5563');
  return await new Promise((done) => canvas.toBlob(done, 'image/png'));
};
$('.st-send').addEventListener('click', async () => {
  const button = $('.st-send'), link = new URL(window.location), [family, scheme, version] = cut().id.split('/');
  for (const [name, value] of Object.entries({ family, scheme: scheme.replace('scheme_', ''), version })) link.searchParams.set(name, value);
  const file = new File([await postcard()], 'low-rank-alexnet.png', { type: 'image/png' });
  const sent = { files: [file], title: 'Low-rank AlexNet', url: link.href };
  try {
    if (navigator.canShare && navigator.canShare(sent)) { await navigator.share(sent); return; }
  } catch (error) {
    if (error.name === 'AbortError') return; // the visitor thought better of it
  }
  const saved = make('a', { href: URL.createObjectURL(file), download: file.name });
  saved.click();
  setTimeout(() => URL.revokeObjectURL(saved.href), 10000);
  let copied = true;
  try { await navigator.clipboard.writeText(link.href); } catch { copied = false; }
  button.textContent = copied ? 'Picture saved, link copied' : 'Picture saved';
  setTimeout(() => { button.textContent = 'Share'; }, 4000);
});

const first = JSON.parse(props.chosen);
Object.assign(state, findCut(first));
told = first.id;
drawChoices(); drawStops(); drawBlocks(); range(); showPhoto();
watch('value', showPhoto);
watch('chosen', () => {
  const chosen = JSON.parse(props.chosen), found = findCut(chosen);
  if (!found) return;
  // The server is told again: a move that was sent while it chose would otherwise be its last word.
  told = '';
  go(found);
  drawStops();
  drawRail();
});
