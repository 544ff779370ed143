// The Photos tab: which photo is selected, which rows are shown, and evidence under the photo that it belongs to.
const root = element.querySelector('.ph');
const KEPT = 16; // evidence of so many photos
const known = new Map();
const state = { photo: '', only: false, changed: false, asked: 0 };
const LONGEST = 30_000; // no answer is waited for longer, in milliseconds
let timer = 0;

const rows = () => [...root.querySelectorAll('tbody tr')];
const inSight = (row) => !state.only || row.classList.contains('ph-differs');
const selected = () => root.querySelector('tr.ph-on');

const drawEvidence = () => {
  clearTimeout(timer);
  const slot = root.querySelector('.ph-evidence');
  if (!slot) return;
  const row = selected(), key = row && !state.changed ? row.dataset.evidence : '';
  root.querySelector('.ph-why').hidden = !key;
  slot.innerHTML = known.get(key) || '';
  if (!key || known.has(key)) return;
  slot.textContent = 'Hiding one part after another…';
  // Whoever walks through the photos waits at the one that matters.
  timer = setTimeout(ask, 150, key);
};
// One question at a time, whose answer asks for what is selected by then: Gradio loses what it is asked meanwhile.
const ask = (key) => {
  if (element.offsetParent === null || Date.now() - state.asked < LONGEST) return;
  const at = state.asked = Date.now();
  trigger('select', { key });
  setTimeout(() => { if (state.asked === at) { state.asked = 0; drawEvidence(); } }, LONGEST);
};

const select = (row, focus = false) => {
  const cards = root.querySelectorAll('.lr-card');
  rows().forEach((one, number) => {
    const on = one === row;
    one.classList.toggle('ph-on', on);
    one.querySelector('.ph-pick').setAttribute('aria-pressed', on);
    for (const button of one.querySelectorAll('button')) button.tabIndex = on ? 0 : -1;
    cards[number].hidden = !on;
    const picture = cards[number].querySelector('img'), small = one.querySelector('img');
    if (on && picture && small) picture.src = small.src;
  });
  state.photo = row ? row.dataset.photo : '';
  root.querySelector('.ph-one').classList.toggle('ph-empty', !row);
  if (row && focus) {
    row.querySelector('.ph-pick').focus({ preventScroll: true });
    row.scrollIntoView({ block: 'nearest' });
  }
  drawEvidence();
};

const selectOne = () => {
  const some = rows().filter(inSight);
  select(some.find((row) => row.dataset.photo === state.photo) || some.find((row) => row.dataset.evidence) || some[0]);
};

const filter = () => {
  root.classList.toggle('ph-only', state.only);
  root.classList.toggle('ph-nothing', !rows().some(inSight));
};

const draw = () => {
  const list = root.querySelector('.ph-list'), at = list ? [list.scrollTop, list.scrollLeft] : [0, 0];
  const focused = root.contains(document.activeElement) ? document.activeElement : null;
  const photo = focused && focused.closest('tr') ? focused.closest('tr').dataset.photo : '';
  const model = focused ? focused.dataset.model : '';
  root.innerHTML = props.value || '';
  state.changed = false;
  const box = root.querySelector('.ph-filter input');
  if (box) box.checked = state.only;
  else state.only = false;
  filter();
  if (!root.querySelector('.ph-list')) return;
  selectOne();
  [root.querySelector('.ph-list').scrollTop, root.querySelector('.ph-list').scrollLeft] = at;
  if (!focused) return;
  const row = rows().find((one) => one.dataset.photo === photo);
  const again = row ? (model && [...row.querySelectorAll('[data-model]')].find((one) => one.dataset.model === model)) || row.querySelector('.ph-pick') : box;
  if (again) again.focus({ preventScroll: true });
};

root.addEventListener('click', (event) => {
  const row = event.target.closest('tbody tr'), answer = event.target.closest('[data-model]');
  if (row) select(row);
  if (answer) trigger('click', { model: answer.dataset.model });
});
root.addEventListener('keydown', (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.closest('.ph-pick')) return;
  event.preventDefault();
  const some = rows().filter(inSight), next = some[some.indexOf(event.target.closest('tr')) + step];
  if (next) select(next, true);
});
root.addEventListener('change', (event) => {
  if (!event.target.closest('.ph-filter')) return;
  state.only = event.target.checked;
  filter();
  selectOne();
});
document.addEventListener('lr-photos-changed', () => { state.changed = true; drawEvidence(); });
document.addEventListener('lr-evidence', (event) => {
  const { key, html, kept } = JSON.parse(event.detail || '{}');
  if (!key) return;
  if (kept) known.set(key, html);
  if (known.size > KEPT) known.delete(known.keys().next().value);
  state.asked = 0;
  const row = selected();
  if (row && !state.changed && row.dataset.evidence === key) root.querySelector('.ph-evidence').innerHTML = html;
  else drawEvidence();
});
watch('value', draw);
draw();
