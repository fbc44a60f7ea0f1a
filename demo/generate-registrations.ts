/**
 * Writes `registrations.ndjson`, the default input of the demo: `node
 * demo/generate-registrations.ts`. Some 2,000 registrations with the names that life brings, and a
 * few lines that are no command.
 */
import { writeFileSync } from 'node:fs'
import { pick, seededRandom } from './random.ts'

const COUNT = 2000
const random = seededRandom(20_260_701)

const given = [
  'Anna',
  'Zoë',
  'José',
  'Siân',
  'Łukasz',
  'Þórdís',
  'Nguyễn',
  'Müge',
  'Çağla',
  'Ægir',
  'Bjørn',
  'Renée',
  'محمد',
  'ליאור',
  'Ольга',
  'Δημήτρης',
  '美咲',
  '지우',
  'अनन्या',
  'สมชาย',
  'Ọlábísí',
  'Ngũgĩ',
  "Ka'ahumanu",
  'J.',
  'X Æ A-12',
]
const family = [
  "O'Brien",
  'García Márquez',
  'van der Berg',
  'Šafářová',
  'Müller-Lüdenscheidt',
  'الخوارزمي',
  'בן־דוד',
  'Достоевский',
  'Παπαδόπουλος',
  '佐藤',
  '김',
  'शर्मा',
  'ใจดี',
  'D’Angelo',
  'Smith',
  'Smith',
  'Li',
  'Jr., "Bobby"',
  'Null',
  'Mac\\Leod',
]
const programmes = [
  'Law',
  'Medicine',
  'Mathematics',
  'History of Art',
  'Génie civil',
  '物理学',
  'علوم الحاسوب',
]

/** Each of these breaks some program somewhere. */
const awkward = [
  '',
  ' ',
  "Robert'); DROP TABLE students;--",
  '👩‍👩‍👧‍👦 Family',
  'é (composed)',
  'e\u0301 (combining)',
  'tab\there',
  'line\nbreak',
  '\u001b[31mred\u001b[0m',
  '\u001b]0;title\u0007',
  'nul\u0000inside',
  '\u202Eright to left override',
  'null',
  'undefined',
  '0',
  'true',
  '__proto__',
  '${7*7}',
  '%s%n',
  '<script>alert(1)</script>',
  '\uFEFFbyte order mark',
  'a'.repeat(10_000),
  '長'.repeat(5000),
  '"quoted"',
  'back\\slash',
  'comma, semicolon;',
  '𝒜𝓃𝓃𝒶',
  'I\u0307stanbul',
  'ß',
  'ﬁ ligature',
]

const broken = [
  '{"name": "cut off',
  '{"programme": "Law"}',
  '["Anna", "Law"]',
  '{"name": 42, "programme": "Law"}',
  'name=Anna',
  '{"name": "half a pair \\ud800", "programme": "Law"}',
]

const lines: string[] = []
for (let index = 0; index < COUNT; index += 1) {
  const odd = index % 40 === 7 ? awkward[Math.floor(index / 40) % awkward.length] : undefined
  const name = odd ?? `${pick(random, given)} ${pick(random, family)}`
  lines.push(JSON.stringify({ name, programme: pick(random, programmes) }))
  if (index % 300 === 150) lines.push(broken[Math.floor(index / 300) % broken.length] ?? '')
}
writeFileSync(new URL('registrations.ndjson', import.meta.url), `${lines.join('\n')}\n`)
