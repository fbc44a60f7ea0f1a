import { defineConfig } from 'vitepress'
import { writeTexts } from './llms.mjs'
import { addressOf, copyPages, parts, referencePages } from './pages.mjs'

copyPages()

const link = ({ page, title }) => ({ text: title, link: addressOf(page) })

const sidebar = parts().map(({ title, pages }) => ({
  text: title,
  collapsed: !['Start', 'How to', 'Operate'].includes(title),
  items: (title === 'Reference' ? [...pages, ...referencePages()] : pages).map(link),
}))

/** What only the makers of a page read, and links to files of the repository that are no pages. */
function forReaders(markdown) {
  markdown.core.ruler.before('normalize', 'comments', (state) => {
    state.src = state.src.replaceAll(/<!--[\s\S]*?-->/g, '')
  })
  markdown.core.ruler.push('elsewhere', (state) => {
    for (const { children } of state.tokens) {
      let outside = false
      for (const token of children ?? []) {
        if (token.type === 'link_open') outside = leavesPages(state.env, token.attrGet('href') ?? '')
        if (!outside || (token.type !== 'link_open' && token.type !== 'link_close')) continue
        token.tag = 'span'
        token.attrs = null
      }
    }
  })
}

function leavesPages({ relativePath = '' }, href) {
  if (/^(?:\w+:|#|\/)/.test(href)) return false
  const folder = new URL(relativePath, 'file:///pages/docs/')
  const target = new URL(href, folder)
  return !target.pathname.startsWith('/pages/docs/') || !/(?:\.md|\/)$/.test(target.pathname)
}

export default defineConfig({
  title: 'Mersal',
  description: 'The transactional outbox for Node.js',
  srcDir: 'pages',
  outDir: './dist',
  rewrites: (page) => page.replace(/(^|\/)README\.md$/, '$1index.md'),
  cleanUrls: true,
  vite: { build: { chunkSizeWarningLimit: 2000 } },
  markdown: {
    config(markdown) {
      forReaders(markdown)
      const fence = markdown.renderer.rules.fence
      markdown.renderer.rules.fence = (tokens, index, ...rest) =>
        tokens[index].info.trim() === 'mermaid'
          ? `<Picture text="${encodeURIComponent(tokens[index].content)}" />`
          : fence(tokens, index, ...rest)
    },
  },
  themeConfig: {
    nav: [
      { text: 'Start', link: '/start-sqlite' },
      { text: 'Operate', link: '/going-live' },
      { text: 'Reference', link: '/reference/' },
    ],
    sidebar,
    outline: [2, 3],
    search: { provider: 'local' },
  },
  buildEnd: ({ outDir }) => writeTexts(outDir),
})
