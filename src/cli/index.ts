export { type ConfigSource, defineConfig, type MersalConfig } from './config/config.ts'
