import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { addressOf, parts, referencePages, textOf } from './pages.mjs'

const ABOUT =
  'A service bus for Node.js whose heart is the transactional outbox: messages and data commit ' +
  'together or not at all.'

/** For programs that read: an index, and the pages in one text, without decisions and evidence. */
export function writeTexts(folder) {
  const shown = parts().filter(({ title }) => title !== 'Evidence')
  const index = shown.map(({ title, pages }) =>
    [`## ${title}`, '', ...pages.map(({ page, title }) => `- [${title}](${addressOf(page)})`)].join('\n'),
  )
  writeFileSync(join(folder, 'llms.txt'), `# Mersal\n\n> ${ABOUT}\n\n${index.join('\n\n')}\n`)
  const pages = shown.flatMap(({ pages }) => pages.map(({ page }) => page))
  const all = new Set([...pages, ...referencePages().map(({ page }) => page)])
  const texts = [...all].filter((page) => !page.startsWith('adr/')).map(textOf)
  writeFileSync(join(folder, 'llms-full.txt'), `${texts.join('\n\n')}\n`)
}
