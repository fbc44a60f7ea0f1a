import { cpSync, globSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const site = join(import.meta.dirname, '..')
const pagesFolder = join(site, '..')

/** Pages must stand inside of the package, or they do not find what it has installed. */
export function copyPages() {
  rmSync(join(site, 'pages'), { recursive: true, force: true })
  for (const page of globSync(['{.,adr,reference}/*.md', 'images/*'], { cwd: pagesFolder }))
    cpSync(join(pagesFolder, page), join(site, 'pages', page))
}

/** A page without what only its makers read. */
export const textOf = (page) =>
  readFileSync(join(pagesFolder, page), 'utf8').replaceAll(/<!--[\s\S]*?-->\n*/g, '')

const linksIn = (text) =>
  [...text.matchAll(/\[([^\]]+)\]\(([^)#\s]+\.md)\)/g)].map(([, title, page]) => ({
    title: title.replaceAll(/[`\s]+/g, ' ').trim(),
    page,
  }))

const headingOf = (page) => /^# (.*)$/m.exec(textOf(page))[1].replaceAll('`', '')

/** The parts of the index, each with its pages: docs/README.md is the one place for their order. */
export function parts() {
  const [, ...found] = textOf('README.md').split(/^## /m)
  return found.map((part) => {
    const pages = [...new Set(linksIn(part).map(({ page }) => page))]
    return {
      title: part.split('\n')[0],
      pages: pages.map((page) => ({ page, title: headingOf(page) })),
    }
  })
}

/** The pages of the reference, in the order of their own index. */
export const referencePages = () =>
  linksIn(textOf('reference/README.md')).map(({ title, page }) => ({ title, page: `reference/${page}` }))

/** Where the site has a page. */
export const addressOf = (page) => `/${page.replace(/(^|\/)README\.md$/, '$1').replace(/\.md$/, '')}`
